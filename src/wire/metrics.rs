//! Metrics of deployments on the wire, and in the text format of Prometheus.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::domain::Time;
use crate::domain::metrics::{Calls, Exported, Measurements, Metric, Period, Step, Total};

const QUANTILES: [f64; 4] = [0.5, 0.9, 0.95, 0.99];

/// Measured metrics. Baseten's `GetModelMetricsResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct Metrics {
    start_epoch_millis: i64,
    end_epoch_millis: i64,
    mode: &'static str,
    step_seconds: Option<i64>,
    metric_descriptors: Vec<MetricDescriptor>,
    metric_values: Vec<MetricValues>,
}

/// What a metric measures. Baseten's `ModelMetricDescriptorV1`.
#[derive(JsonSchema, Serialize)]
struct MetricDescriptor {
    name: &'static str,
    unit_hint: &'static str,
    kind: &'static str,
    label_sets: Vec<Map<String, Value>>,
}

/// The value of each label set of each metric, from a given time. Baseten's `ModelMetricValueSetV1`.
#[derive(JsonSchema, Serialize)]
struct MetricValues {
    start_epoch_millis: i64,
    #[schemars(with = "Vec<Vec<Option<f64>>>")]
    values: Vec<Vec<Option<Number>>>,
}

/// A count or a measured quantity.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Real(f64),
}

impl Metrics {
    pub fn new(period: &Period, metrics: &[Metric], measured: &Measurements, now: Time) -> Metrics {
        let values = |step: &Step| MetricValues {
            start_epoch_millis: step.start.0,
            values: metrics.iter().map(|metric| values(*metric, step)).collect(),
        };
        Metrics {
            start_epoch_millis: period.start.0,
            end_epoch_millis: period.end.0,
            mode: period.mode.as_str(),
            step_seconds: period.step_seconds,
            metric_descriptors: metrics.iter().map(|metric| descriptor(*metric)).collect(),
            metric_values: period.steps(now, measured).iter().map(values).collect(),
        }
    }
}

fn descriptor(metric: Metric) -> MetricDescriptor {
    let labels = |name: &str, value: String| Map::from_iter([(name.to_owned(), Value::String(value))]);
    let (unit_hint, kind, label_sets) = match metric {
        Metric::Replicas => ("COUNT", "GAUGE", vec![Map::new()]),
        Metric::Requests => {
            let statuses = ["2xx", "4xx", "5xx"].map(|status| labels("status", status.to_owned()));
            ("COUNT", "COUNTER", statuses.to_vec())
        }
        Metric::ResponseTime => {
            let quantiles = QUANTILES.iter().map(|quantile| labels("quantile", quantile.to_string()));
            ("SECONDS", "HISTOGRAM", quantiles.chain([labels("stat", "avg".to_owned())]).collect())
        }
    };
    MetricDescriptor { name: metric.as_str(), unit_hint, kind, label_sets }
}

/// The values of a metric, in the order of its label sets.
fn values(metric: Metric, Step { replicas, calls, .. }: &Step) -> Vec<Option<Number>> {
    match metric {
        Metric::Replicas => vec![replicas.map(Number::Whole)],
        Metric::Requests => {
            let Calls { successes, client_errors, server_errors, .. } = calls;
            [successes, client_errors, server_errors].map(|count| Some(Number::Whole(*count))).to_vec()
        }
        Metric::ResponseTime => {
            let quantiles = QUANTILES.iter().map(|quantile| calls.quantile_seconds(*quantile));
            quantiles.chain([calls.average_seconds()]).map(|seconds| seconds.map(Number::Real)).collect()
        }
    }
}

/// Metrics of many deployments in the text format of Prometheus (version 0.0.4).
pub fn exported(deployments: &[Exported]) -> String {
    let mut text = String::new();
    header(&mut text, Metric::Replicas, "gauge", "Replicas that run.");
    for deployment in deployments {
        let _ = writeln!(text, "{}{{{}}} {}", Metric::Replicas.as_str(), labels(deployment, None), deployment.replicas);
    }
    header(&mut text, Metric::Requests, "counter", "Requests to the model.");
    for deployment in deployments {
        for total in &deployment.totals {
            let labels = labels(deployment, Some(total));
            let _ = writeln!(text, "{}{{{labels}}} {}", Metric::Requests.as_str(), total.requests);
        }
    }
    header(&mut text, Metric::ResponseTime, "histogram", "Time from a request to the end of its answer.");
    let name = Metric::ResponseTime.as_str();
    for deployment in deployments {
        for total in &deployment.totals {
            let labels = labels(deployment, Some(total));
            for (bound, calls) in total.latencies.cumulative() {
                let seconds = bound as f64 / 1000.0;
                let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{seconds}\"}} {calls}");
            }
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", total.latencies.calls());
            let _ = writeln!(text, "{name}_sum{{{labels}}} {}", total.milliseconds as f64 / 1000.0);
            let _ = writeln!(text, "{name}_count{{{labels}}} {}", total.requests);
        }
    }
    text
}

fn header(text: &mut String, metric: Metric, kind: &str, help: &str) {
    let name = metric.as_str();
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// The labels of a series. The environment is the one that was served when the calls were made, or is served now.
fn labels(deployment: &Exported, calls: Option<&Total>) -> String {
    let environment = match calls {
        Some(total) => &total.environment,
        None => deployment.environment.as_deref().unwrap_or_default(),
    };
    let mut labels = format!(
        "model_id={},model_name={},deployment_id={},environment={}",
        json!(deployment.model_id),
        json!(deployment.model_name),
        json!(deployment.deployment_id),
        json!(environment)
    );
    if let Some(Total { status, is_async, .. }) = calls {
        let _ = write!(labels, ",status_code=\"{status}\",is_async=\"{is_async}\"");
    }
    labels
}
