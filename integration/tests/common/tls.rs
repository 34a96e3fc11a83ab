//! Mutual TLS with certificates made on the spot: clients whose URI SAN is their identity.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails its test"
)]

use std::sync::Arc;

use quiesce_integration::envoy::Tls;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    },
};

/// A certificate whose subject differs from its issuer, without which it counts as self-signed.
fn named(common_name: &str, hosts: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// One authority for server and clients.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = named("authority of the tests", Vec::new());
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// What a listener needs.
    pub fn server(&self) -> Tls {
        let key = KeyPair::generate().unwrap();
        let params = named("localhost", vec!["localhost".to_owned()]);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Tls {
            certificate: certificate.pem(),
            private_key: key.serialize_pem(),
            client_ca: self.certificate.pem(),
        }
    }

    /// Greets the server as a client with this identity, or without a certificate.
    pub async fn connect(&self, stream: TcpStream, identity: Option<&str>) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.certificate.der().to_vec())).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let mut params = named("client", Vec::new());
                params.subject_alt_names.push(SanType::URI(identity.try_into().unwrap()));
                let key = KeyPair::generate().unwrap();
                let certificate = params.signed_by(&key, &self.issuer).unwrap();
                let chain = vec![CertificateDer::from(certificate.der().to_vec())];
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let server = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(server, stream).await.unwrap()
    }
}
