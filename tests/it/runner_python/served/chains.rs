//! Do chainlets run as truss generates them, and call each other?

use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use serde_json::{Value, json};

use super::child::{Ours, Server, TOKEN};
use super::{build_archive, has_pypi, secrets};

const CHAIN: &str = "
import truss_chains as chains

class Adder(chains.ChainletBase):
    async def run_remote(self, a: int, b: int) -> int:
        return a + b

@chains.mark_entrypoint('Sums')
class Entry(chains.ChainletBase):
    def __init__(self, adder: Adder = chains.depends(Adder)):
        self.adder = adder
    async def run_remote(self, numbers: list[int]) -> int:
        total = 0
        for number in numbers:
            total = await self.adder.run_remote(total, number)
        return total
";

/// Lets truss generate the models of a chain's chainlets, as `truss chains push` does before it uploads them.
fn generate(folder: &Path) -> PathBuf {
    let (code, generated) = (folder.join("code"), folder.join("generated")); // truss copies all of the first
    for folder in [&code, &generated] {
        std::fs::create_dir(folder).unwrap();
    }
    std::fs::write(code.join("chain.py"), CHAIN).unwrap();
    let mut truss = Command::new("truss");
    truss.args(["chains", "push", "chain.py", "--dryrun", "--remote", "none"]).current_dir(&code);
    let ended = truss.env("HOME", folder).env("TMPDIR", &generated).output().expect("truss is on the path");
    assert!(ended.status.success(), "{}{}", text(&ended.stdout), text(&ended.stderr));
    generated.join(".chains_generated/Sums")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn start(generated: &Path, dynamic_config: Value) -> Ours {
    let archive = tempfile::NamedTempFile::new().unwrap();
    let mut builder = tar::Builder::new(archive.as_file());
    builder.append_dir_all(".", generated).unwrap();
    builder.into_inner().unwrap();
    let config =
        guildhall::wire::yaml::read_config(&std::fs::read_to_string(generated.join("config.yaml")).unwrap()).unwrap();
    let built = build_archive(archive.path(), &config).unwrap_or_else(|failure| panic!("{failure:?}"));
    let ours = Ours::start(built, &secrets(&[("baseten_chain_api_key", "the chain's key")]), dynamic_config);
    ours.wait_until_ready();
    ours
}

/// Stands where the listener will: takes calls over TCP to a chainlet's socket, and tells their heads.
fn forward(to: PathBuf, heads: mpsc::Sender<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for caller in listener.incoming().map_while(Result::ok) {
            let (chainlet, heads) = (UnixStream::connect(&to).unwrap(), heads.clone());
            std::thread::spawn(move || pass(caller, chainlet, &heads));
        }
    });
    port
}

fn pass(mut caller: TcpStream, mut chainlet: UnixStream, heads: &mpsc::Sender<String>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && caller.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    let head = text(&head);
    let Some((_, fields)) = head.split_once("\r\n") else { return };
    heads.send(head.clone()).unwrap();
    // Only this head gets the token, so the connection is good for one call.
    let fields: Vec<&str> =
        fields.split("\r\n").filter(|field| !field.to_lowercase().starts_with("connection:")).collect();
    let added = format!("x-guildhall-token: {TOKEN}\r\nconnection: close");
    write!(chainlet, "POST /v1/models/model:predict HTTP/1.1\r\n{added}\r\n{}", fields.join("\r\n")).unwrap();
    let (mut from, mut to) = (chainlet.try_clone().unwrap(), caller.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut caller, &mut chainlet);
}

#[test]
fn generated_chainlets_start_and_call_each_other() {
    if !has_pypi() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let generated = generate(folder.path());
    let adder = start(&generated.join("chainlet_Adder"), Value::Null);
    assert_eq!(adder.predict(r#"{"a": 1, "b": 2}"#).json(), 3);
    let (tell, heads) = mpsc::channel();
    let port = forward(adder.built.folder.path().join("socket"), tell);
    let urls = json!({"Adder": {"predict_url": format!("http://127.0.0.1:{port}/chainlet")}});
    let entry = start(&generated.join("chainlet_Entry"), json!({"dynamic_chainlet_config": urls}));
    assert_eq!(entry.predict(r#"{"numbers": [1, 2, 3, 4]}"#).json(), 10);
    let head = heads.recv().unwrap().to_lowercase();
    assert!(head.contains("authorization: api-key the chain's key"), "{head}");
}
