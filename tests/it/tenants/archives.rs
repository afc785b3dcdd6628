//! Archives that expand to more than their size: each push ends by itself, and no other tenant's push waits for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::site::{BaseUrl, Pushed, Tenant, text, unique};
use crate::deployments::{CODE, CONFIG, tar, whole};

/// How long a push may take that ends in a refusal.
const PATIENCE: Duration = Duration::from_secs(20);

/// Files without content, under these names, behind what makes an archive whole.
fn named(names: impl IntoIterator<Item = String>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    };
    add("config.yaml", CONFIG);
    add("model/model.py", CODE);
    names.into_iter().for_each(|name| add(&name, ""));
    builder.into_inner().unwrap()
}

/// The same with names in extended headers, each with a record of no use that is this long.
fn extended(names: impl IntoIterator<Item = String>, ballast: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for name in names {
        let ballast = "b".repeat(ballast);
        builder.append_pax_extensions([("path", name.as_bytes()), ("comment", ballast.as_bytes())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_path("short").unwrap();
        header.set_size(0);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    }
    let mut archive = whole();
    archive.truncate(archive.len() - 1024); // the end of an archive is two empty blocks
    archive.extend(builder.into_inner().unwrap());
    archive
}

/// A path of folders, each of its own per `number`, so that no two paths share any.
fn deep(number: usize, folders: usize, folder: &str) -> String {
    format!("{number}/{}f", format!("{folder}/").repeat(folders))
}

fn with_config(config: &str) -> Vec<u8> {
    tar(&[("config.yaml", config), ("model/model.py", CODE)])
}

/// Archives whose names are many, long, deep or costly to write down.
fn of_names() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("30 files under 1,900 folders each", named((0..30).map(|at| deep(at, 1900, "d")))),
        ("2,000 files under 90 folders each", named((0..2000).map(|at| deep(at, 90, "dir")))),
        (
            "one path of 2,040 folders, 1,200 files in it",
            named((0..1200).map(|at| format!("{}{at}", "d/".repeat(2040)))),
        ),
        ("25,000 files of three folders", named((0..25_000).map(|at| format!("a{}/b{}/c{at}", at % 97, at % 1013)))),
        (
            "1,500 paths of 60 folders of control characters",
            named((0..1500).map(|at| deep(at, 60, &"\u{1}".repeat(58)))),
        ),
        ("9,000 names of 240 quotation marks", named((0..9000).map(|at| format!("{at}{}", "\"".repeat(240))))),
        ("4,000 long names in extended headers", extended((0..4000).map(|at| format!("{at}{}", "n".repeat(3000))), 10)),
        ("extended headers with 16 KB that say nothing", extended((0..900).map(|at| format!("e{at}")), 16_000)),
        ("one name 20,000 times", named((0..20_000).map(|_| "again".to_owned()))),
    ]
}

/// Archives whose configuration unfolds.
fn of_configurations() -> Vec<(&'static str, Vec<u8>)> {
    let aliases = |levels: usize, times: usize| {
        let mut yaml = "l0: &l0 lol\n".to_owned();
        for level in 1..levels {
            let before = format!("*l{}, ", level - 1).repeat(times);
            yaml += &format!("l{level}: &l{level} [{before}]\n");
        }
        yaml
    };
    let merges = {
        let mut yaml = "m0: &m0 {a: 1}\n".to_owned();
        for level in 1..1500 {
            yaml += &format!("m{level}: &m{level} {{<<: *m{}, k{level}: 1}}\n", level - 1);
        }
        yaml
    };
    let requirements = tar(&[
        ("config.yaml", "requirements_file: r.txt\n"),
        ("model/model.py", CODE),
        ("r.txt", &"a\n".repeat(450_000)),
    ]);
    vec![
        ("aliases of aliases", with_config(&aliases(12, 9))),
        ("aliases that double", with_config(&aliases(40, 2))),
        (
            "one long text, aliased",
            with_config(&format!("t: &t {}\nl: [{}]\n", "t".repeat(90_000), "*t, ".repeat(9000))),
        ),
        ("keys that are merged on and on", with_config(&merges)),
        ("330,000 nodes", with_config(&format!("l: [{}]\n", "a, ".repeat(330_000)))),
        ("300,000 empty lists", with_config(&format!("l: [{}]\n", "[],".repeat(300_000)))),
        ("100,000 keys", with_config(&(0..100_000).map(|at| format!("k{at}: \n")).collect::<String>())),
        ("lists in lists", with_config(&format!("l: {}{}\n", "[".repeat(400_000), "]".repeat(400_000)))),
        ("blocks in blocks", with_config(&(0..900).map(|at| format!("{}k:\n", " ".repeat(at))).collect::<String>())),
        ("a number of 900,000 digits", with_config(&format!("n: {}\n", "9".repeat(900_000)))),
        ("90,000 documents", with_config(&"--- {}\n".repeat(90_000))),
        ("a text of control characters", with_config(&format!("t: \"{}\"\n", "\\x01".repeat(220_000)))),
        ("450,000 requirements", requirements),
    ]
}

/// Each ends by itself, whatever it says, while the neighbour's pushes are built.
fn pushed_each(site: &mut BaseUrl, archives: &[(&'static str, Vec<u8>)]) {
    for (what, archive) in archives {
        site.beside(what, |hostile| {
            let pushed = hostile.push(&unique("bomb-"), archive);
            let outcome = hostile.outcome(&pushed, PATIENCE);
            assert!(["ACTIVE", "BUILD_FAILED"].contains(&outcome.as_str()), "{what}: it is {outcome}");
        });
    }
    site.neighbour.push_honestly(&unique("honest-"));
    site.assert_restarts("archives");
    site.neighbour.push_honestly(&unique("honest-"));
}

#[test]
fn archives_of_hostile_names_end_and_harm_nobody() {
    pushed_each(&mut BaseUrl::new(), &of_names());
}

#[test]
fn archives_of_hostile_configurations_end_and_harm_nobody() {
    pushed_each(&mut BaseUrl::new(), &of_configurations());
}

// ---- patches ----

/// A path and what stands there.
type File = (String, String);

impl Tenant {
    /// A development deployment that is active, and what it is patched from.
    fn develop(&self, name: &str) -> Pushed {
        let deployment = json!({ "config": { "model_name": name }, "is_development": true });
        let source = json!({ "kind": "model_archive", "name": name, "s3_key": self.uploaded(&whole()), "deployment": deployment });
        let made = self.deployer.post(&format!("/v1/teams/{}/models", self.team), json!({ "source": source }));
        let pushed = Pushed { model: text(&made["model"]["id"]), deployment: text(&made["deployment"]["id"]) };
        assert_eq!(self.outcome(&pushed, PATIENCE), "ACTIVE");
        pushed
    }

    /// Stages a patch of these files, syncs it, and waits for what comes of it. Answers the status of the refusal, if it
    /// is refused.
    fn patch(&self, pushed: &Pushed, config: &str, files: &[File]) -> u16 {
        let at = format!("/v1/models/{}/deployments/{}/patches", pushed.model, pushed.deployment);
        let state = self.deployer.get(&format!("{at}/state"));
        let hash = [&state["pending_patch_point"]["hash"], &state["running_patch_point"]["hash"]];
        let hash = hash.into_iter().find(|hash| !hash.is_null()).cloned().unwrap_or(Value::Null);
        let operation =
            |(path, content): &File| json!({ "type": "model_code", "action": "ADD", "path": path, "content": content });
        let body = json!({
            "prev_patch_hash": hash,
            "next_patch_point": { "content_hashes": {}, "config": config, "requirements": [] },
            "patch_ops": files.iter().map(operation).collect::<Vec<_>>(),
        });
        let staged = self.deployer.send("POST", &at, Some(body)).unwrap();
        if staged.status != 200 {
            assert!((400..500).contains(&staged.status), "{} {}", staged.status, staged.text());
            return staged.status;
        }
        let synced = self.deployer.send("POST", &format!("{at}/sync"), None).unwrap();
        let outcome = self.outcome(pushed, PATIENCE);
        assert!(["ACTIVE", "FAILED", "BUILD_FAILED"].contains(&outcome.as_str()), "patched, it is {outcome}");
        synced.status
    }
}

#[test]
fn patches_that_unfold_end_and_harm_nobody() {
    let mut site = BaseUrl::new();
    let file = |path: String| (path, "x = 1\n".to_owned());
    let patches: [(&str, &str, Vec<File>); 4] = [
        ("250 files under 1,700 folders", CONFIG, (0..250).map(|at| file(deep(at, 1700, "d"))).collect()),
        ("6,000 files", CONFIG, (0..6000).map(|at| file(format!("m{at}/n.py"))).collect()),
        (
            "aliases of aliases in the configuration",
            "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d \
             [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f \
             [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
            Vec::new(),
        ),
        ("names of control characters", CONFIG, (0..60).map(|at| file(deep(at, 40, &"\u{2}".repeat(60)))).collect()),
    ];
    for (what, config, files) in &patches {
        site.beside(what, |hostile| {
            let pushed = hostile.develop(&unique("patched-"));
            hostile.patch(&pushed, config, files);
        });
    }
    site.assert_restarts("patches");
    site.neighbour.push_honestly("honest");
}

/// The configuration is costly to read, and a cheap check refuses it: the team has no such secret.
#[test]
fn configurations_are_read_where_nobody_waits() {
    let mut site = BaseUrl::new();
    let costly = format!("secrets: {{nosuch: null}}\nl: [{}]\n", "[],".repeat(200_000));
    site.beside("YAML that is parsed to be refused", |hostile| {
        let pushed = hostile.develop(&unique("costly-"));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..4).for_each(|_| _ = hostile.patch(&pushed, &costly, &[])));
            }
        });
    });
}

// ---- the worker ----

/// The worker stops at a pipe that nobody writes to, as if it had crashed there; then the server is killed. It is tried once
/// more, and not a third time.
#[test]
fn what_takes_the_server_down_twice_is_not_built_a_third_time() {
    let mut site = BaseUrl::new();
    let mut archive = whole();
    archive.extend([0; 512]); // an archive of its own
    let s3_key = site.hostile.uploaded(&archive);
    let hash = blake3::hash(&archive).to_hex().to_string();
    let path = files_below(&site.data().join("archives")).into_iter().find(|path| {
        let name: String = path.strip_prefix(site.data()).unwrap().to_string_lossy().replace('/', "");
        name.ends_with(&hash)
    });
    let path = path.expect("the archive stands under its hash");
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg("-m").arg("600").arg(&path).status().unwrap();
    assert!(made.success());
    let pushed = site.hostile.push_upload("poison", &s3_key);
    for start in 1..=2 {
        std::thread::sleep(Duration::from_millis(600));
        site.assert_restarts(&format!("start {start}"));
    }
    assert_eq!(site.hostile.outcome(&pushed, PATIENCE), "BUILD_FAILED");
    site.neighbour.push_honestly("honest");
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// One upload, pushed again and again, is read once; and the neighbour's push has its turn.
#[test]
fn many_pushes_of_one_large_upload_let_the_neighbour_s_push_through() {
    let mut site = BaseUrl::new();
    let quiet = site.neighbour.push_honestly("quiet");
    let content = "0123456789abcdef".repeat(4 << 20); // 64 MiB
    let large = tar(&[("config.yaml", CONFIG), ("model/model.py", CODE), ("data/weights", &content)]);
    let s3_key = site.hostile.uploaded(&large);
    let first = site.hostile.push_upload("large", &s3_key);
    let pushes = 150;
    for _ in 1..pushes {
        let source = json!({ "kind": "model_archive", "s3_key": s3_key, "deployment": { "config": {} } });
        let target = format!("/v1/models/{}/deployments", first.model);
        let answer = site.hostile.deployer.send("POST", &target, Some(json!({ "source": source }))).unwrap();
        assert!(matches!(answer.status, 200 | 429), "{} {}", answer.status, answer.text());
    }
    let begun = Instant::now();
    let loud = site.neighbour.push_honestly("loud");
    println!("{pushes} pushes of 64 MiB: the neighbour's push took {loud:?}, quiet {quiet:?}");
    assert!(loud < quiet.max(Duration::from_millis(250)) * 10, "it took {loud:?}, quiet {quiet:?}");
    while site.hostile.status(&first) == "BUILDING" {
        assert!(begun.elapsed() < PATIENCE, "the first of them is still building");
        std::thread::sleep(Duration::from_millis(50));
    }
    site.assert_lives("pushes of one upload");
}
