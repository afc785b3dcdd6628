//! Custom servers: a command of the team that serves HTTP, which `docker_server` of a configuration describes.

use serde_json::{Map, Value};

use crate::error::quoted;

const COMMAND_BYTES_MAX: usize = 8 << 10;
const PATH_BYTES_MAX: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomServer {
    /// A command of the shell.
    pub start_command: String,
    pub port: u16,
    pub predict_path: String,
    pub readiness_path: String,
    pub liveness_path: String,
}

impl CustomServer {
    /// The custom server of a configuration, if it describes one.
    ///
    /// # Errors
    ///
    /// A sentence that names the field that cannot be read.
    pub fn of_config(config: &Map<String, Value>) -> Result<Option<CustomServer>, String> {
        let Some(given) = config.get("docker_server").filter(|given| !given.is_null()) else { return Ok(None) };
        let text = |name: &str| given.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let start_command = text("start_command").ok_or(
            "config.yaml has docker_server without a start_command: there is no image whose own command could run, so \
             set it",
        )?;
        if start_command.len() > COMMAND_BYTES_MAX || start_command.contains('\0') {
            return Err(format!("docker_server.start_command must be a line of at most {COMMAND_BYTES_MAX} bytes"));
        }
        let port = given.get("server_port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let port = port.filter(|port| *port > 0).ok_or("docker_server.server_port must be a port from 1 to 65535")?;
        let path = |name: &str| match text(name) {
            None => Err(format!("docker_server.{name} must be a path")),
            Some(path) if is_path(path) => Ok(path.to_owned()),
            Some(path) => {
                Err(format!("docker_server.{name} is \"{}\" and must be a path that begins with `/`", quoted(path)))
            }
        };
        Ok(Some(CustomServer {
            start_command: start_command.to_owned(),
            port,
            predict_path: path("predict_endpoint")?,
            readiness_path: path("readiness_endpoint")?,
            liveness_path: path("liveness_endpoint")?,
        }))
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= PATH_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(docker_server: Value) -> Result<Option<CustomServer>, String> {
        CustomServer::of_config(json!({ "docker_server": docker_server }).as_object().unwrap())
    }

    #[test]
    fn a_custom_server_is_read_or_refused_by_its_field() {
        let whole = json!({
            "start_command": "serve", "server_port": 8000, "predict_endpoint": "/v1/predict",
            "readiness_endpoint": "/ready", "liveness_endpoint": "/live",
        });
        let server = read(whole.clone()).unwrap().unwrap();
        assert_eq!((server.port, server.predict_path.as_str()), (8000, "/v1/predict"));
        assert_eq!(read(Value::Null), Ok(None));
        for (field, value) in [
            ("start_command", json!(null)),
            ("start_command", json!("")),
            ("server_port", json!(0)),
            ("server_port", json!(65536)),
            ("predict_endpoint", json!("predict")),
            ("readiness_endpoint", json!("/a b")),
            ("liveness_endpoint", json!(1)),
        ] {
            let mut wrong = whole.clone();
            wrong[field] = value;
            assert!(read(wrong).unwrap_err().contains(field), "{field}");
        }
    }
}
