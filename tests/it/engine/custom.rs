//! Are custom servers reached by the bridge alone, with their own secrets?

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::Map;

use super::*;

fn control(secret: Option<&str>, token: &str) -> Control {
    let secrets = secret.map(|secret| ("name".to_owned(), secret.to_owned())).into_iter().collect();
    Control { secrets, dynamic_config: Map::new(), token: token.to_owned() }
}

fn start(bench: &Bench, id: &str, secret: &str, network: Network) -> Started {
    let mut launch = bench.launch_inside(id, "custom");
    launch.network = network;
    launch.serves = Serves::Port(8000);
    launch.control = control(Some(secret), "token");
    let started = bench.start(launch).unwrap();
    started.wait_for_line("listening");
    started
}

/// A connection that is kept.
struct Client(UnixStream);

impl Client {
    fn new(started: &Started) -> Client {
        let socket = UnixStream::connect(started.process.socket()).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        Client(socket)
    }

    fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).unwrap();
    }

    /// The status and the body of an answer.
    fn read(&mut self) -> (u16, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length =
            head.split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
    }

    fn call(&mut self, path: &str, token: &str) -> (u16, String) {
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: model\r\nX-Guildhall-Token: {token}\r\ncontent-length: 2\r\n\r\nhi"
        ));
        self.read()
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}

#[test]
fn two_servers_on_one_port_have_their_own_secrets() {
    each_way(|bench| {
        let has_networks = bench.has_bubblewrap() || bench.engine.machine().namespaces.network;
        let servers = ["first", "second"].map(|id| start(bench, id, &format!("of {id}"), Network::Private));
        for (server, id) in servers.iter().zip(["first", "second"]) {
            let mut client = Client::new(server);
            for path in ["/a", "/b"] {
                let (status, body) = client.call(path, "token");
                let expected = format!("POST {path} HTTP/1.1\r\nhost: model\r\ncontent-length: 2\r\nhi|of {id}");
                assert_eq!((status, body), (200, expected));
            }
        }
        if has_networks {
            assert!(std::net::TcpStream::connect("127.0.0.1:8000").is_err(), "it is in a network of its own");
        }
    });
}

#[test]
fn a_server_in_the_machine_s_network_has_a_port_that_we_choose() {
    each_way(|bench| {
        let servers = ["first", "second"].map(|id| start(bench, id, id, Network::Outbound));
        for (server, id) in servers.iter().zip(["first", "second"]) {
            assert!(Client::new(server).call("/", "token").1.ends_with(&format!("|{id}")));
        }
    });
}

#[test]
fn without_the_token_nothing_is_forwarded() {
    let bench = Bench::new(Use::Everything);
    let server = start(&bench, "a", "secret", Network::Private);
    let refused = |request: &str| {
        let mut client = Client::new(&server);
        client.send(request);
        let (status, body) = client.read();
        assert!(body.is_empty() && client.is_closed(), "{request}");
        status
    };
    assert_eq!(refused("GET / HTTP/1.1\r\nhost: a\r\n\r\n"), 403);
    assert_eq!(refused("GET / HTTP/1.1\r\nhost: a\r\nx-guildhall-token: wrong\r\n\r\n"), 403);
    assert_eq!(refused("GET / HTTP/1.0\r\nx-guildhall-token: token\r\n\r\n"), 400);
    let long = "a".repeat(70_000);
    assert_eq!(refused(&format!("GET /{long} HTTP/1.1\r\nx-guildhall-token: token\r\n\r\n")), 431);
    // Also on a connection that showed it before.
    let mut client = Client::new(&server);
    assert_eq!(client.call("/", "token").0, 200);
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.read().0, 403);
    assert!(client.is_closed());
}

#[test]
fn changed_secrets_reach_the_same_process() {
    each_way(|bench| {
        let server = start(bench, "a", "old", Network::Private);
        let pid = server.process.pid();
        let mut client = Client::new(&server);
        assert!(client.call("/", "token").1.ends_with("|old"));
        server.process.control(&control(Some("new"), "token")).unwrap();
        wait_until("the new secret", || Client::new(&server).call("/", "token").1.ends_with("|new"));
        server.process.control(&control(None, "other")).unwrap();
        wait_until("the other token", || Client::new(&server).call("/", "other").1.ends_with("|none"));
        assert_eq!(Client::new(&server).call("/", "token").0, 403);
        assert!(is_alive(pid) && server.process.pid() == pid);
        // It is in no argument, variable or file on the disk.
        server.process.control(&control(Some("a-secret-value"), "other")).unwrap();
        wait_until("the secret", || Client::new(&server).call("/", "other").1.ends_with("|a-secret-value"));
        for name in ["cmdline", "environ"] {
            for pid in [pid, server.process.supervisor()] {
                let text = std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
                assert!(!String::from_utf8_lossy(&text).contains("a-secret-value"));
            }
        }
        let found =
            std::process::Command::new("grep").args(["-rl", "a-secret-value"]).arg(bench.folder.path()).output();
        assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout), "");
    });
}

#[test]
fn another_protocol_passes_after_its_upgrade() {
    let bench = Bench::new(Use::Everything);
    let server = start(&bench, "a", "secret", Network::Private);
    let mut client = Client::new(&server);
    let upgrade = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nupgrade: echo\r\nconnection: upgrade\r\nx-guildhall-token: token\r\n\r\n")
    };
    client.send(&upgrade("/refuse"));
    assert_eq!(client.read().0, 200);
    client.send(&upgrade("/"));
    assert_eq!(client.read().0, 101);
    client.send("\0 anything \r\n\r\n");
    let mut echoed = [0; 15];
    client.0.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"\0 anything \r\n\r\n");
}

#[test]
fn a_server_that_does_not_listen_is_unavailable_and_one_that_ended_is_gone() {
    each_way(|bench| {
        let mut launch = bench.launch("a", "echo ready; read x < /dev/zero");
        launch.command = ["/bin/sh", "-c", "echo ready; sleep 600"].map(str::to_owned).to_vec();
        launch.network = Network::Private;
        launch.serves = Serves::Port(8000);
        let server = bench.start(launch).unwrap();
        server.wait_for_line("ready");
        assert_eq!(Client::new(&server).call("/", "token").0, 503);
        let mut kept = Client::new(&server);
        server.process.stop(Duration::from_secs(5));
        assert_eq!(server.process.ended().unwrap().exit, Exit::Signal(15));
        assert!(kept.is_closed());
        assert!(UnixStream::connect(server.process.socket()).is_err());

        let mut launch = bench.launch("b", "exit 5");
        launch.serves = Serves::Port(8000);
        assert_eq!(bench.start(launch).unwrap().wait().exit, Exit::Code(5));
        let mut launch = bench.launch("c", "");
        (launch.serves, launch.command) = (Serves::Port(8000), vec!["no-such-program".to_owned()]);
        assert!(matches!(bench.start(launch), Err(StartError::Command(_))));
    });
}

#[test]
fn a_process_with_a_socket_has_its_listener_and_its_control_pipe() {
    each_way(|bench| {
        let mut launch =
            bench.launch("a", "read line <&4; echo \"$line\"; read line <&4; echo \"$line\"; read line <&4; echo end");
        launch.serves = Serves::Socket;
        launch.control = control(Some("first"), "token");
        let started = bench.start(launch).unwrap();
        started.wait_for_line(r#"{"secrets":{"name":"first"},"dynamic_config":{},"token":"token"}"#);
        assert!(UnixStream::connect(started.process.socket()).is_ok(), "it listens");
        started.process.control(&control(Some("second"), "token")).unwrap();
        started.wait_for_line(r#"{"secrets":{"name":"second"},"dynamic_config":{},"token":"token"}"#);
        started.process.stop(Duration::ZERO);
        assert!(UnixStream::connect(started.process.socket()).is_err());
        assert!(started.process.control(&control(None, "token")).is_err());
    });
}

/// A process that never reads does not delay who tells it something.
#[test]
fn the_control_pipe_never_blocks() {
    let bench = Bench::new(Use::Everything);
    let mut launch = bench.launch("a", "sleep 15; while read line <&4; do echo \"${#line}\"; done");
    launch.serves = Serves::Socket;
    let started = bench.start(launch).unwrap();
    let long = "x".repeat(300_000);
    let begun = Instant::now();
    for _ in 0..20 {
        started.process.control(&control(Some(&long), "token")).unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(14), "{:?}", begun.elapsed());
    started.process.control(&control(Some("last"), "token")).unwrap();
    let last = serde_json::to_string(&control(Some("last"), "token")).unwrap().len().to_string();
    started.wait_for_line(&last);
}
