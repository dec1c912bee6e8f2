//! The SDK's client, from settings alone.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::errors::Place;
use super::keys::{FreshKeys, ReadKeys};
use super::limit::AnswerLimit;
use super::{S3Settings, Timeouts};
use crate::adapters::host_names::{SystemNames, look_up};
use crate::domain::failure::FailureKind;
use crate::domain::loopback::is_loopback;
use crate::ports::object_store::StoreError;

/// Attempts at one request, the first included, before the reconciler takes over with its longer pauses.
pub(super) const ATTEMPTS: u32 = 3;

/// A client that looks at nothing but `settings` and `keys`.
pub(super) fn build(
    settings: &S3Settings,
    keys: Arc<dyn ReadKeys>,
    place: &Place,
) -> Result<Client, StoreError> {
    let stalled = StalledStreamProtectionConfig::enabled().grace_period(settings.timeouts.stall).build();
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(FreshKeys(keys))
        // The SDK would keep them for good: keys in files have no end that it could know.
        .identity_cache(IdentityCache::no_cache())
        .force_path_style(settings.path_style)
        .http_client(http_client(settings, place)?)
        // The default, checksums in aws-chunked trailers, is refused by OBS, Ceph and others.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts(&settings.timeouts, 0))
        .interceptor(AnswerLimit::OfRefusals)
        .stalled_stream_protection(stalled);
    if let Some(endpoint) = &settings.endpoint {
        config = config.endpoint_url(endpoint.as_str());
    }
    Ok(Client::from_conf(config.build()))
}

/// Timeouts of a request that sends `bytes`.
///
/// There is no read timeout: the SDK's counts from the start of the request, and so would cut off long uploads.
pub(super) fn timeouts(timeouts: &Timeouts, bytes: u64) -> TimeoutConfig {
    let sending = Duration::from_secs(bytes / timeouts.least_rate.bytes_per_second.max(1));
    TimeoutConfig::builder()
        .connect_timeout(timeouts.connect)
        .operation_attempt_timeout(timeouts.attempt.saturating_add(sending))
        .build()
}

/// A store writes down so many bytes a second at the least: its answer to a put is waited for accordingly.
const SLOWEST_DISK: u64 = 256 * 1024;

/// How long the answer to a put of `bytes` is waited for after its last byte.
pub(super) fn patience(timeouts: &Timeouts, bytes: u64) -> Duration {
    timeouts.attempt.saturating_add(Duration::from_secs(bytes / SLOWEST_DISK))
}

/// One TLS stack with one set of trusted certificates. The proxy variables are obeyed as the source's client obeys them; this
/// machine itself is asked directly.
fn http_client(settings: &S3Settings, place: &Place) -> Result<SharedHttpClient, StoreError> {
    // Cleartext goes to this machine only. The same connector speaks it, so that its host names are looked up, and told, alike.
    let is_cleartext = settings.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http");
    let trusted = match &settings.ca_pem {
        _ if is_cleartext => TrustStore::empty(),
        Some(pem) => {
            check_certificates(pem).map_err(|why| {
                let message = format!("the CA file for {place} cannot be used: {why}");
                StoreError::of_store(FailureKind::Rejected, message)
            })?;
            TrustStore::empty().with_pem_certificate(pem.clone())
        }
        None => TrustStore::default(),
    };
    let context = TlsContext::builder().with_trust_store(trusted).build().map_err(|error| {
        StoreError::of_store(FailureKind::Local, format!("TLS cannot be set up for {place}: {error}"))
    })?;
    let is_here = is_cleartext || settings.endpoint.as_ref().is_some_and(is_loopback);
    let proxy = if is_here { ProxyConfig::disabled() } else { ProxyConfig::from_env() };
    Ok(aws_smithy_http_client::Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(proxy.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        let provider = Provider::Rustls(CryptoMode::AwsLc);
        connector.tls_provider(provider).tls_context(context.clone()).build_with_resolver(SystemNames)
    }))
}

impl ResolveDns for SystemNames {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let addresses = look_up(name).await.map_err(ResolveDnsError::new)?;
            Ok(addresses.into_iter().map(|address| address.ip()).collect())
        })
    }
}

/// Whether `pem` holds certificates that can be trusted in. Asked here because the SDK panics on what cannot.
fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("it is no PEM file: {error}"))?;
        roots.add(certificate).map_err(|error| format!("a certificate in it is no CA's: {error}"))?;
    }
    if roots.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_usable_certificate_is_an_error_and_no_panic() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let garbled = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        for (pem, word) in
            [("", "no certificate"), ("text", "no certificate"), (broken, "CA"), (garbled, "PEM")]
        {
            let why = check_certificates(pem.as_bytes()).unwrap_err();
            assert!(why.contains(word), "{pem:?}: {why}");
        }
    }

    #[test]
    fn an_attempt_may_take_longer_the_more_it_sends() {
        let settings = Timeouts::default();
        let attempt = |bytes| timeouts(&settings, bytes).operation_attempt_timeout();
        assert_eq!(attempt(0), Some(Duration::from_secs(60)));
        assert_eq!(attempt(1 << 20), Some(Duration::from_secs(60 + 256)));
    }
}
