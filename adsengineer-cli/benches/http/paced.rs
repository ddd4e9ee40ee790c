//! Requests at times that are set beforehand: what a caller waits for when the server has half of the work that it can do.
//!
//! A request that its connection cannot send in time, because the answer before it is late, counts from when it should have been sent.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{MissedTickBehavior, interval_at},
};

/// How long answers took, sorted.
pub struct Times(Vec<Duration>);

impl Times {
    /// The time within which this part of all requests was answered.
    pub fn within(&self, part: f64) -> Duration {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few million at most")]
        let at = (self.0.len() as f64 * part) as usize;
        self.0.get(at.min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Who is asked, how often, and for how long.
#[derive(Clone)]
pub struct Plan {
    /// Host and port.
    pub address: String,
    pub token: String,
    pub connections: u32,
    /// Requests a second over all connections.
    pub rate: f64,
    pub lasts: Duration,
}

/// Posts one new lead after the other.
pub async fn post_leads(plan: Plan) -> Result<Times, Box<dyn Error + Send + Sync>> {
    let begin = Instant::now() + Duration::from_millis(50);
    let each = Duration::from_secs_f64(f64::from(plan.connections) / plan.rate);
    let mut tasks = Vec::new();
    for number in 0..plan.connections {
        let first = begin + each * number / plan.connections;
        tasks.push(tokio::spawn(one(plan.clone(), number, first, each, begin + plan.lasts)));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    all.sort_unstable();
    Ok(Times(all))
}

async fn one(plan: Plan, number: u32, first: Instant, each: Duration, end: Instant) -> Result<Vec<Duration>, Box<dyn Error + Send + Sync>> {
    let mut stream = TcpStream::connect(&plan.address).await?;
    stream.set_nodelay(true)?;
    let mut bell = interval_at(first.into(), each);
    bell.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut due, mut took, mut answer) = (first, Vec::new(), vec![0; 64 * 1024]);
    while due < end {
        let is_late = Instant::now() > due;
        bell.tick().await;
        // A timer that rings late is not the server's fault; an answer is.
        let begun = if is_late { due } else { Instant::now() };
        stream.write_all(request(&plan, number, took.len()).as_bytes()).await?;
        read_answer(&mut stream, &mut answer).await?;
        took.push(begun.elapsed());
        due += each;
    }
    Ok(took)
}

fn request(plan: &Plan, number: u32, n: usize) -> String {
    let id = format!("paced-{number}-{n}");
    let body = format!(
        r#"{{"external_id":"{id}","email":"person{id}@example.com","phone":"+4915123456789","gclid":"EAIaIQobChMI1example{id}","company":"Example Ltd","tags":["hot"],"landing_page":"https://example.com/?a=1","utm":{{"source":"google","medium":"cpc"}},"consent":{{"storage":"granted","ad_user_data":"granted","ad_personalization":"denied","method":"form_checkbox"}}}}"#
    );
    let Plan { address, token, .. } = plan;
    format!(
        "POST /api/v1/leads HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads one answer and refuses any other than 201.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err("the server closed a connection".into());
        }
        filled += read;
        let text = std::str::from_utf8(&buffer[..filled])?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        if body.len() >= length.ok_or("an answer without its length")? {
            return if head.starts_with("HTTP/1.1 201") { Ok(()) } else { Err(text.to_owned().into()) };
        }
    }
}
