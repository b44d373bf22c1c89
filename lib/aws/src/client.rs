//! Connections to services: HTTP, TLS, credentials, timeouts.

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials as Fixed, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Builder, Connector, tls};

use crate::{Credentials, ServiceSettings};

/// What all clients of a service share. Pinned: a new version of the SDK changes nothing by itself.
///
/// Of the SDK's timeouts only that of connecting is used, and none of its retries: requests are timed and repeated by
/// [`crate::retry`]. The protection against stalled streams is off, because it takes a long poll for one.
pub(crate) async fn config(settings: &ServiceSettings) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout)
        .disable_read_timeout()
        .disable_operation_timeout()
        .disable_operation_attempt_timeout()
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(https())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &settings.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if settings.credentials == Credentials::Local {
        loader = loader.credentials_provider(Fixed::new("local", "local", None, None, "local"));
    }
    loader.load().await
}

/// The client for a service's own address: without TLS and proxies where that address is plain HTTP.
pub(crate) fn http_client(settings: &ServiceSettings) -> SharedHttpClient {
    match &settings.endpoint {
        Some(endpoint) if endpoint.starts_with("http://") => Builder::new().build_http(),
        _ => https(),
    }
}

fn https() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.build()
    })
}
