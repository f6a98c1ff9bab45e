//! The demo's view of the collector: its JSON API, asked as any program would.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tower::BoxError;

/// The collector's web address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Collector {
    port: u16,
}

/// A row of `/api/v1/services`.
#[derive(Debug, Deserialize)]
pub(super) struct Service {
    pub(super) service: String,
    pub(super) count: u64,
    pub(super) rate: f64,
    pub(super) error_ratio: f64,
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// An edge of `/api/v1/map`.
#[derive(Debug, Deserialize)]
pub(super) struct Edge {
    pub(super) client: String,
    pub(super) server: String,
    pub(super) count: u64,
    pub(super) client_p50: Option<f64>,
    pub(super) server_p50: Option<f64>,
    pub(super) gap_p50: Option<f64>,
    pub(super) gap_p99: Option<f64>,
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
struct Map {
    edges: Vec<Edge>,
}

impl Collector {
    pub(super) fn at(port: u16) -> Self {
        Self { port }
    }

    pub(super) async fn services(&self) -> Result<Vec<Service>, BoxError> {
        Ok(self
            .ask::<List<Service>>("/api/v1/services?window=5m")
            .await?
            .items)
    }

    pub(super) async fn map(&self) -> Result<Vec<Edge>, BoxError> {
        Ok(self.ask::<Map>("/api/v1/map?window=5m").await?.edges)
    }

    /// The services once their counts stand still for a second: the last spans have arrived.
    pub(super) async fn services_once_settled(
        &self,
        limit: Duration,
    ) -> Result<Vec<Service>, BoxError> {
        let deadline = Instant::now() + limit;
        let mut services = self.services().await?;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = self.services().await?;
            let total = |services: &[Service]| services.iter().map(|s| s.count).sum::<u64>();
            if total(&now) == total(&services) || Instant::now() > deadline {
                return Ok(now);
            }
            services = now;
        }
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, BoxError> {
        match get(self.port, path).await? {
            (200, body) => Ok(serde_json::from_slice(&body)?),
            (status, body) => Err(format!(
                "{path} answered {status}: {}",
                String::from_utf8_lossy(&body)
            )
            .into()),
        }
    }
}

/// Status and body of a GET on a loopback port.
pub(super) async fn get(port: u16, path: &str) -> Result<(u16, Bytes), BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = Request::get(format!("http://127.0.0.1:{port}{path}")).body(Empty::new())?;
    let response = client.request(request).await?;
    Ok((
        response.status().as_u16(),
        response.into_body().collect().await?.to_bytes(),
    ))
}
