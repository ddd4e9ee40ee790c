//! Bytes on a connection, for what no well-behaved client sends.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stage::Stage;

pub struct Wire(pub TcpStream);

impl Wire {
    pub async fn to(stage: &Stage) -> Self {
        Self(TcpStream::connect(stage.url.strip_prefix("http://").unwrap()).await.unwrap())
    }

    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Everything until the server closes the connection.
    pub async fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        // A server that closes in the middle of a request may reset the connection.
        drop(self.0.read_to_end(&mut bytes).await);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The head of the next answer.
    pub async fn head(&mut self) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => bytes.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The head of a POST of leads whose body has so many bytes.
pub fn post_head(token: &str, length: usize) -> String {
    format!(
        "POST /api/v1/leads HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}
