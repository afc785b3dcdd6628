//! The content that an archive may have: links as truss writes them, names of any kind, and gzip; and its maximum size
//! when unpacked.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::EntryType;

use super::watch::{developing, files, patch, state};
use super::{CODE, CONFIG, tar, whole};
use crate::acme::Acme;
use crate::vocabulary::text;

/// An entry of an archive: a file of this content, or a link of this kind to this target.
pub enum Put<'a> {
    File(&'a str, &'a str),
    Symlink(&'a str, &'a str),
    HardLink(&'a str, &'a str),
}
use Put::{File, HardLink, Symlink};

pub fn archive(entries: &[Put]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        match entry {
            File(path, content) => {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, content.as_bytes()).unwrap();
            }
            Symlink(path, target) => {
                header.set_entry_type(EntryType::Symlink);
                builder.append_link(&mut header, path, target).unwrap();
            }
            HardLink(path, target) => {
                header.set_entry_type(EntryType::Link);
                builder.append_link(&mut header, path, target).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Pushes an archive as the development deployment, and answers what became of it and its log.
pub fn deploy(acme: &Acme, model: &str, archive: &[u8]) -> (String, String) {
    let pushed = acme.push("max", model, json!({ "s3_key": acme.uploaded("max", archive), "is_development": true }));
    acme.run_all();
    (acme.status(model, "development"), acme.messages(model, &text(&pushed["id"])).join("\n"))
}

fn hashes(acme: &Acme, model: &str) -> Value {
    state(acme, model)["running_patch_point"]["content_hashes"].clone()
}

fn hash(content: &str) -> Value {
    json!(blake3::hash(content.as_bytes()).to_hex().as_str())
}

#[test]
fn links_whose_target_is_inside_are_as_on_the_disk_of_the_author() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let long = "l/".repeat(60) + "long.py";
    let entries = [
        File("conf/prod.yaml", CONFIG),
        Symlink("config.yaml", "conf/prod.yaml"),
        Symlink("model/model.py", "../src/./code.py"),
        File("src/code.py", CODE),
        HardLink("src/same.py", "src/code.py"),
        HardLink("model/again.py", "model/model.py"),
        Symlink("chain/one", "two"),
        Symlink("chain/two", "three"),
        Symlink("chain/three", "../src/../src/code.py"),
        Symlink("alias", "src"),
        File(&long, "long"),
        Symlink("to_long", &long),
        Symlink("up/down/here", "../../config.yaml"),
    ];
    let (status, log) = deploy(&acme, &model, &archive(&entries));
    assert_eq!(status, "ACTIVE", "{log}");
    let found = hashes(&acme, &model);
    for path in
        ["model/model.py", "model/again.py", "src/code.py", "src/same.py", "chain/one", "chain/two", "chain/three"]
    {
        assert_eq!(found[path], hash(CODE), "{path}");
    }
    assert_eq!((&found["config.yaml"], &found["up/down/here"]), (&hash(CONFIG), &hash(CONFIG)));
    assert_eq!(found["to_long"], hash("long"));
    assert!(found.as_object().unwrap().contains_key("alias") && found["alias"].is_null(), "a folder: {found}");
    assert_eq!(state(&acme, &model)["running_patch_point"]["config"], CONFIG);
}

/// On the author's disk the model is in a folder behind a link.
#[test]
fn a_link_to_a_folder_is_that_folder() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let entries = [File("config.yaml", CONFIG), File("src/model.py", CODE), Symlink("model", "src")];
    assert_eq!(deploy(&acme, &model, &archive(&entries)).0, "ACTIVE");
    let within = [File("config.yaml", CONFIG), Symlink("model", "src"), File("model/model.py", CODE)];
    let (status, log) = deploy(&acme, &model, &archive(&within));
    assert!(status == "BUILD_FAILED" && log.contains("\"model\" in it is a file and a folder"), "{log}");
}

#[test]
fn links_that_lead_elsewhere_are_refused_by_name() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let over_forty: Vec<(String, String)> =
        (0..50).map(|number| (format!("links/{number:02}"), format!("{:02}", number + 1))).collect();
    let mut many: Vec<Put> = over_forty.iter().map(|(path, target)| Symlink(path, target)).collect();
    many.push(File("links/50", "x"));
    let cases: [(Vec<Put>, &str, &str); 9] = [
        (vec![Symlink("model/weights", "/etc/passwd")], "model/weights", "absolute"),
        (vec![Symlink("model/weights", "../../etc/passwd")], "model/weights", "leads outside"),
        (vec![Symlink("a/b", "../x/../../../y")], "a/b", "not in it"),
        (vec![Symlink("a/b", "missing")], "a/b", "not in it"),
        (vec![Symlink("a/one", "two"), Symlink("a/two", "one")], "a/one", "circle"),
        (vec![Symlink("self", "self")], "self", "circle"),
        (many, "links/00", "too many links"),
        (vec![HardLink("late", "later"), File("later", "x")], "late", "before the link"),
        (vec![HardLink("out", "../../etc/shadow")], "out", "outside"),
    ];
    for (mut entries, name, why) in cases {
        entries.extend([File("config.yaml", CONFIG), File("model/model.py", CODE)]);
        let (status, log) = deploy(&acme, &model, &archive(&entries));
        assert_eq!(status, "BUILD_FAILED", "{name}: {why}");
        assert!(log.contains(&format!("\"{name}\"")) && log.contains(why), "{name}, {why}: {log}");
    }
}

#[test]
fn a_backslash_and_a_colon_are_characters_of_a_name() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let names = ["C:\\data\\x.txt", "a:b", "..\\up", "odd\\", "new\nline"];
    let mut entries = vec![File("config.yaml", CONFIG), File("model/model.py", CODE)];
    entries.extend(names.iter().map(|name| File(name, "x")));
    let (status, log) = deploy(&acme, &model, &archive(&entries));
    assert_eq!(status, "ACTIVE", "{log}");
    let found = hashes(&acme, &model);
    names.iter().for_each(|name| assert_eq!(found[*name], hash("x"), "{name}"));
}

/// A patch changes what links are to: they keep what they had, unless they are followed.
#[test]
fn patches_keep_links() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let entries = [
        File("config.yaml", CONFIG),
        File("model/model.py", CODE),
        HardLink("model/first.py", "model/model.py"),
        HardLink("model/second.py", "model/model.py"),
        Symlink("model/followed.py", "model.py"),
        HardLink("again.yaml", "config.yaml"),
    ];
    assert_eq!(deploy(&acme, &model, &archive(&entries)).0, "ACTIVE");
    let at = format!("/v1/models/{model}/deployments/development/patches");
    let code = format!("{CODE}# patched\n");
    acme.post("max", &at, patch(&state(&acme, &model)["running_patch_point"], &code));
    acme.post("max", &format!("{at}/sync"), json!({}));
    acme.run_all();
    assert_eq!(acme.status(&model, "development"), "ACTIVE");
    let found = files(&acme, &model);
    let content = |name: &str| &found.iter().find(|(path, _)| path == name).unwrap().1;
    assert_eq!((content("model/model.py"), content("model/first.py")), (&code, &CODE.to_owned()));
    // Read once more, as the next push would be.
    let link = text(&acme.get("max", &format!("/v1/models/{model}/deployments/development/download"))["download_url"]);
    let path = link.strip_prefix("http://localhost:8000").unwrap();
    let stored = acme.server.reply(None, "GET", path, Vec::new()).archive.unwrap();
    let bytes = std::fs::read(stored.into_archive().unwrap().path(acme.server.data())).unwrap();
    let (next, _) = acme.create("max", "research", "next");
    let (status, log) = deploy(&acme, &next, &bytes);
    assert_eq!(status, "ACTIVE", "{log}");
    let hashes = hashes(&acme, &next);
    assert_eq!((&hashes["model/model.py"], &hashes["model/followed.py"]), (&hash(&code), &hash(&code)));
    assert_eq!((&hashes["model/first.py"], &hashes["model/second.py"]), (&hash(CODE), &hash(CODE)));
    assert_eq!(hashes["again.yaml"], hash(CONFIG));
}

#[test]
fn a_gzip_archive_is_read_like_the_tar_in_it_and_patched_as_one() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let whole = whole();
    assert_eq!(deploy(&acme, &model, &whole).0, "ACTIVE");
    let plain = state(&acme, &model)["running_patch_point"].clone();
    let (first, second) = whole.split_at(700);
    let in_members = [gzip(first), gzip(second), vec![0; 512]].concat();
    for packed in [in_members, gzip(&whole)] {
        let (status, log) = deploy(&acme, &model, &packed);
        assert_eq!(status, "ACTIVE", "{log}");
        assert_eq!(state(&acme, &model)["running_patch_point"], plain);
    }
    let at = format!("/v1/models/{model}/deployments/development/patches");
    acme.post("max", &at, patch(&plain, "x = 1\n"));
    acme.post("max", &format!("{at}/sync"), json!({}));
    acme.run_all();
    assert_eq!(acme.status(&model, "development"), "ACTIVE");
    let link = text(&acme.get("max", &format!("/v1/models/{model}/deployments/development/download"))["download_url"]);
    let path = link.strip_prefix("http://localhost:8000").unwrap();
    let stored = acme.server.reply(None, "GET", path, Vec::new()).archive.unwrap();
    let bytes = std::fs::read(stored.into_archive().unwrap().path(acme.server.data())).unwrap();
    assert!(bytes.starts_with(b"\x1f\x8b"), "it is packed as before");
    assert_eq!(hashes(&acme, &model)["model/model.py"], hash("x = 1\n"));
}

#[test]
fn what_is_no_gzip_to_its_end_or_another_format_is_named() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let packed = gzip(&whole());
    let mut flipped = packed.clone();
    let crc = flipped.len() - 6;
    flipped[crc] ^= 1;
    let cases: [(Vec<u8>, &str); 9] = [
        (packed[..packed.len() - 9].to_vec(), "no readable tar"),
        (packed[..packed.len() - 3].to_vec(), "no readable tar"),
        (packed[..12].to_vec(), "no readable tar"),
        (flipped, "no readable tar"),
        ([packed.clone(), b"garbage".to_vec()].concat(), "follows its end"),
        (gzip(&packed), "no readable tar"),
        (b"PK\x03\x04 and so on".repeat(100), "zip file"),
        (b"\x28\xb5\x2f\xfd and so on".repeat(100), "zstd file"),
        (gzip(b""), "no config.yaml"),
    ];
    for (archive, why) in cases {
        let (status, log) = deploy(&acme, &model, &archive);
        assert!(status == "BUILD_FAILED" && log.contains(why), "{why}: {log}");
    }
}

/// Ten gigabytes of zeros in ten megabytes: it is not unpacked to its end.
#[test]
fn a_gzip_bomb_is_left_early() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(4 << 30);
    header.set_cksum();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(header.as_bytes()).unwrap();
    for _ in 0..200 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let (status, log) = deploy(&acme, &model, &encoder.finish().unwrap());
    assert!(status == "BUILD_FAILED" && log.contains("times its size"), "{log}");
}

/// An empty member takes twenty bytes to send and far longer to read.
#[test]
fn a_gzip_file_of_many_tiny_members_is_left_early() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let few = [gzip(b"").repeat(900), gzip(&whole())].concat();
    assert_eq!(deploy(&acme, &model, &few).0, "ACTIVE");
    for member in [gzip(b""), gzip(&[0; 512])] {
        let (status, log) = deploy(&acme, &model, &[gzip(&whole()), member.repeat(2_500)].concat());
        assert!(status == "BUILD_FAILED" && log.contains("members"), "{status} {log}");
    }
}

/// What an archive becomes is counted while it is walked: its folders with each path, its names as they are escaped.
#[test]
fn what_an_archive_becomes_is_bounded() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let deep = |depth: usize| "d/".repeat(depth) + "x";
    let nested: Vec<String> = (0..40).map(|file| format!("{file}/{}", "n/".repeat(2040))).collect();
    let wide: Vec<String> =
        (0..2000).map(|file| format!("{file:04}/{}/{}x", "w".repeat(100), "long folder name/".repeat(90))).collect();
    let control: Vec<String> = (0..4000)
        .map(|file| format!("{}{file}", "\u{1}".repeat(3000).as_str()))
        .map(|name| format!("f/{name}"))
        .collect();
    let cases: [(Vec<String>, &str); 4] = [
        (vec![deep(100)], "levels deep"),
        (nested.into_iter().map(|folder| folder + "x").collect(), "levels deep"),
        (wide, "take more than"),
        (control, "take more than"),
    ];
    for (names, why) in cases {
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        let started = std::time::Instant::now();
        let (status, log) = deploy(&acme, &model, &tar_of(&files));
        assert!(status == "BUILD_FAILED" && log.contains(why), "{why}: {status} {log}");
        assert!(started.elapsed().as_secs() < 60);
    }
    let names: Vec<String> =
        (0..10_000).map(|file| format!("package/module_{:03}/file_{file}.py", file % 100)).collect();
    let mut files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    files.extend([("config.yaml", CONFIG), ("model/model.py", CODE)]);
    let at_the_limit = deep(99);
    files.push((&at_the_limit, ""));
    let (status, log) = deploy(&acme, &model, &tar(&files));
    assert_eq!(status, "ACTIVE", "{log}");
}

/// Names longer than a header has room for.
fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<Put> = files.iter().map(|(path, content)| File(path, content)).collect();
    archive(&entries)
}

/// Files that are read for their text are read up to a bound, and no others.
#[test]
fn a_large_text_at_the_top_is_a_file_like_others_unless_it_is_the_configuration() {
    let acme = Acme::new();
    let (model, _) = developing(&acme);
    let vocabulary = "word\n".repeat(600_000);
    let files: Vec<(String, &str)> = (0..4).map(|number| (format!("vocab{number}.txt"), vocabulary.as_str())).collect();
    let mut files: Vec<(&str, &str)> = files.iter().map(|(name, content)| (name.as_str(), *content)).collect();
    let config = format!("{CONFIG}requirements_file: deps/requirements.txt\n");
    files.extend([
        ("deps/requirements.txt", "numpy\n# no\n torch \n"),
        ("config.yaml", &config),
        ("model/model.py", CODE),
    ]);
    let (status, log) = deploy(&acme, &model, &tar(&files));
    assert_eq!(status, "ACTIVE", "{log}");
    assert_eq!(state(&acme, &model)["running_patch_point"]["requirements"], json!(["numpy", "torch"]));
    let large = format!("{CONFIG}# {}\n", "x".repeat(2 << 20));
    let (status, log) = deploy(&acme, &model, &tar(&[("config.yaml", &large), ("model/model.py", CODE)]));
    assert!(status == "BUILD_FAILED" && log.contains("config.yaml"), "{log}");
}
