//! Do the models of the demo run, and do the lines that it prints about them work?

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(180);

/// A demo that runs, and what it has printed until its models were called.
struct Demo {
    process: Child,
    page: Vec<String>,
    _place: tempfile::TempDir,
}

impl Demo {
    fn start() -> Demo {
        let place = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_guildhall"))
            .args(["demo", "--listen", "127.0.0.1:0", "--data"])
            .arg(place.path().join("data"))
            .env_remove("GUILDHALL_RUNNER")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line))));
        let (begun, mut page) = (Instant::now(), Vec::new());
        // The last line of the page is a call that is refused.
        while !page.last().is_some_and(|line: &String| line.ends_with("-d '{}'")) {
            let left = LONG.checked_sub(begun.elapsed()).unwrap_or_else(|| panic!("no models: {page:#?}"));
            page.push(told.recv_timeout(left).unwrap_or_else(|_| panic!("no models: {page:#?}")));
        }
        Demo { process, page, _place: place }
    }

    /// The lines of the page that hold this text and call with `curl`.
    fn calls(&self, text: &str) -> Vec<&str> {
        let lines = self.page.iter().map(String::as_str);
        lines.filter(|line| line.contains("curl") && line.contains(text)).collect()
    }

    fn key(&self, variable: &str) -> &str {
        let export = format!("export {variable}=");
        self.page.iter().find_map(|line| line.trim().strip_prefix(&export)).expect(variable)
    }

    /// Sends what a line of the page sends: the status and the body.
    fn send(&self, line: &str) -> (u16, String) {
        let after = |mark: &str, end: char| Some(line.split_once(mark)?.1.split(end).next().unwrap().to_owned());
        let key = self.key(&after("Bearer $", '"').unwrap()).to_owned();
        let (method, body) = match after("-d '", '\'') {
            Some(body) => ("POST", body),
            None => ("GET", String::new()),
        };
        let url = line.split_once("http://").unwrap().1;
        let (address, path) = url.split_once('/').unwrap();
        let path = path.split([' ', '"']).next().unwrap();
        let mut connection = TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(LONG)).unwrap();
        let head = format!("{method} /{path} HTTP/1.0\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n");
        write!(connection, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[track_caller]
    fn json(&self, line: &str) -> Value {
        let (status, body) = self.send(line);
        assert!((200..300).contains(&status), "{line}: {status} {body}");
        serde_json::from_str(&body).unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn two_teams_have_a_model_that_answers_with_their_own_secret() {
    let demo = Demo::start();
    let hashes: Vec<_> = demo.page.iter().filter_map(|line| line.trim().strip_prefix("# ")?.split_once(": ")).collect();
    let [(research, first), (inference, second)] = hashes.as_slice() else { panic!("{:#?}", demo.page) };
    assert_eq!((*research, *inference), ("Research", "Inference"));
    assert_ne!(first, second);
    let calls = demo.calls("{\"hello\": \"");
    assert_eq!(calls.len(), 3, "two calls, and one that is carried out later");
    for (call, (team, hash)) in calls.iter().zip(&hashes) {
        let answer = demo.json(call);
        assert_eq!((&answer["secret_sha256"], &answer["input"]), (&json!(hash), &json!({ "hello": team })));
    }
    let (status, pieces) = demo.send(demo.calls("\"stream\": true")[0]);
    assert_eq!((status, pieces.matches("\"chunk\":").count()), (200, 5), "{pieces}");
    assert!(demo.json(demo.calls("/async_predict")[0])["request_id"].is_string());
    let begun = Instant::now();
    let status = || demo.json(demo.calls("/async_request/")[0])["status"].clone();
    while status() != "SUCCEEDED" {
        assert!(begun.elapsed() < LONG, "it is {}", status());
        std::thread::sleep(Duration::from_millis(50));
    }
    let logged = || demo.json(demo.calls("/logs")[0])["logs"].to_string().contains("answers a call");
    while !logged() {
        assert!(begun.elapsed() < LONG, "the log has no call");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (status, body) = demo.send(demo.calls("-d '{}'")[0]);
    assert_eq!(status, 404, "a member of another team: {body}");
}
