//! TLS in front of a plain server, with a certificate that only a private CA vouches for.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The front, until dropped.
pub struct TlsFront {
    address: SocketAddr,
    host: String,
    /// The CA's certificate.
    pub ca_pem: String,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// A front of `server`, an `http://host:port`.
    pub async fn of(server: &str) -> Self {
        Self::of_host(server, "127.0.0.1").await
    }

    /// As [`Self::of`], with a certificate for `host`, where nobody finds it but by its address.
    pub async fn of_host(server: &str, host: &str) -> Self {
        let server = server.trim_start_matches("http://").to_owned();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(accept(listener, server, TlsAcceptor::from(Arc::new(config))));
        Self { address, host: host.to_owned(), ca_pem: ca.pem(), task }
    }

    pub fn endpoint(&self) -> String {
        format!("https://{}", self.authority())
    }

    /// The host of its certificate, and its port.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.address.port())
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: String, acceptor: TlsAcceptor) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (server, acceptor) = (server.clone(), acceptor.clone());
        connections.spawn(async move {
            // A client that does not trust us hangs up here.
            let Ok(mut client) = acceptor.accept(client).await else {
                return;
            };
            let mut server = TcpStream::connect(server).await.unwrap();
            let _hung_up = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}
