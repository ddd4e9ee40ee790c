//! TLS to the server, in libpq's own terms: `sslmode` and `sslrootcert` of the URL.
//!
//! Source: PostgreSQL manual, "SSL Support" of libpq. Two differences: without `sslrootcert` the system's own certificates are
//! trusted, and `allow` is `prefer`.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What a URL says of TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    /// Whether there is TLS at all.
    pub(super) mode: SslMode,
    check: Check,
    roots: Option<PathBuf>,
}

/// What is checked of the server's certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Check {
    /// Nothing: it keeps out who only listens.
    Nothing,
    /// Who signed it.
    Issuer,
    /// Who signed it, and that it is this host's.
    Host,
}

/// Takes what is said of TLS out of a URL: the rest, and what was said.
pub(super) fn split(url: &str) -> Result<(String, Wanted), String> {
    let mut wanted = Wanted { mode: SslMode::Prefer, check: Check::Nothing, roots: None };
    if !url.contains("://") {
        return Err("it is no URL such as postgres://user@host:5432/database".to_owned());
    }
    let Some((head, query)) = url.split_once('?') else { return Ok((url.to_owned(), wanted)) };
    let mut rest = Vec::new();
    for part in query.split('&') {
        match part.split_once('=') {
            Some(("sslmode", mode)) => (wanted.mode, wanted.check) = read_mode(mode)?,
            Some(("sslrootcert", "system" | "")) => {}
            Some(("sslrootcert", path)) => wanted.roots = Some(decoded(path)?.into()),
            Some((name @ ("sslcert" | "sslkey" | "sslpassword" | "sslcrl"), _)) => {
                return Err(format!("`{name}` is not supported; sign in by password"));
            }
            _ => rest.push(part),
        }
    }
    // As in libpq: whoever names a certificate wants it checked.
    if wanted.roots.is_some() && wanted.mode == SslMode::Require && wanted.check == Check::Nothing {
        wanted.check = Check::Issuer;
    }
    Ok((if rest.is_empty() { head.to_owned() } else { format!("{head}?{}", rest.join("&")) }, wanted))
}

fn read_mode(mode: &str) -> Result<(SslMode, Check), String> {
    Ok(match mode {
        "disable" => (SslMode::Disable, Check::Nothing),
        "allow" | "prefer" => (SslMode::Prefer, Check::Nothing),
        "require" => (SslMode::Require, Check::Nothing),
        "verify-ca" => (SslMode::Require, Check::Issuer),
        "verify-full" => (SslMode::Require, Check::Host),
        _ => return Err(format!("there is no sslmode `{mode}`; there are disable, allow, prefer, require, verify-ca, verify-full")),
    })
}

/// A parameter's value, `%2F` and its like decoded.
fn decoded(text: &str) -> Result<String, String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.ok_or_else(|| format!("`{text}` is not percent-encoded"))?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_err(|_| format!("`{text}` is not percent-encoded UTF-8"))
}

impl Wanted {
    /// What makes connections.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?;
        let config = match (self.check, self.roots()?) {
            (Check::Host, Some(roots)) => builder.with_root_certificates(roots),
            (Check::Host, None) => builder.with_platform_verifier().map_err(|e| format!("the system's certificates: {e}"))?,
            (check, roots) => {
                let chain = if check == Check::Nothing { None } else { Some(by_issuer(roots)?) };
                let lenient = Lenient { chain, provider: aws_lc_rs::default_provider() };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(lenient))
            }
        };
        Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
    }

    /// The certificates named in the URL.
    fn roots(&self) -> Result<Option<RootCertStore>, String> {
        let Some(path) = &self.roots else { return Ok(None) };
        let failed = |what: &dyn std::fmt::Display| format!("the sslrootcert {} cannot be used: {what}", path.display());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| failed(&e))? {
            roots.add(certificate.map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
        }
        if roots.is_empty() {
            return Err(failed(&"there is no certificate in it"));
        }
        Ok(Some(roots))
    }
}

/// Checks who signed a certificate, and so needs to know whom to trust.
fn by_issuer(roots: Option<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let roots =
        roots.ok_or("`sslmode=verify-ca` needs `sslrootcert`; with the system's certificates only `verify-full` proves anything")?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(aws_lc_rs::default_provider())).build().map_err(|e| e.to_string())
}

/// Takes a certificate of any host: of whom is checked where there is a `chain`. That the server has its key is always checked.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: CryptoProvider,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> (String, Wanted) {
        split(&format!("postgres://u:p@h/d{query}")).unwrap()
    }

    #[test]
    fn modes_mean_what_they_mean_to_libpq() {
        let of = |query: &str| {
            let (_, wanted) = read(query);
            (wanted.mode, wanted.check)
        };
        assert_eq!(of(""), (SslMode::Prefer, Check::Nothing));
        assert_eq!(of("?sslmode=disable"), (SslMode::Disable, Check::Nothing));
        assert_eq!(of("?sslmode=allow"), (SslMode::Prefer, Check::Nothing));
        assert_eq!(of("?sslmode=require"), (SslMode::Require, Check::Nothing));
        assert_eq!(of("?sslmode=require&sslrootcert=/a.pem"), (SslMode::Require, Check::Issuer));
        assert_eq!(of("?sslrootcert=/a.pem&sslmode=verify-ca"), (SslMode::Require, Check::Issuer));
        assert_eq!(of("?sslmode=verify-full&sslrootcert=system"), (SslMode::Require, Check::Host));
    }

    #[test]
    fn the_rest_of_a_url_stays_as_it_is() {
        let (rest, wanted) = read("?a=b&sslmode=verify-full&sslrootcert=%2Ftmp%2Fa%20b.pem&c=d");
        assert_eq!((rest.as_str(), wanted.roots), ("postgres://u:p@h/d?a=b&c=d", Some("/tmp/a b.pem".into())));
        assert_eq!(read("?sslmode=prefer").0, "postgres://u:p@h/d");
        assert!(split("host=h user=u").unwrap_err().contains("no URL"));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let error = |query: &str| split(&format!("postgres://h/d?{query}")).and_then(|(_, w)| w.connector().map(drop)).unwrap_err();
        assert!(error("sslmode=verify").contains("verify-full"));
        assert!(error("sslcert=/a.pem").contains("by password"));
        assert!(error("sslrootcert=%zz").contains("percent-encoded"));
        assert!(error("sslmode=verify-ca").contains("needs `sslrootcert`"));
        assert!(error("sslmode=verify-full&sslrootcert=/nowhere.pem").contains("/nowhere.pem cannot be used"));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(error(&format!("sslmode=verify-full&sslrootcert={}", file.path().display())).contains("no certificate in it"));
    }
}
