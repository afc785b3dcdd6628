//! The requirements of a model, as they may be given to uv or pip.
//!
//! Both read much more than names and versions: options, other files, local folders, variables of our process. Only what
//! names a package of a registry, or the URL of a wheel, is passed on.

use std::collections::BTreeSet;

use super::Failure;
use crate::error::quoted;

const LINES_MAX: usize = 1000;
const LINE_BYTES_MAX: usize = 2000;
/// Options that say where packages are. Their value is a URL.
const INDEX_OPTIONS: &[&str] = &["-i", "--index-url", "--extra-index-url", "-f", "--find-links"];

/// What an environment is made from: lines in the order in which they are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    pub lines: Vec<String>,
}

impl Requirements {
    /// Reads lines of a configuration's `requirements` or of a file of requirements.
    ///
    /// # Errors
    /// [`Failure::Build`] naming the line that cannot be installed here, and why.
    pub fn read<'l>(given: impl IntoIterator<Item = &'l str>) -> Result<Requirements, Failure> {
        let mut lines = Vec::new();
        for line in joined(given) {
            if lines.len() >= LINES_MAX {
                return Err(Failure::Build(format!("there are more than {LINES_MAX} requirements: name fewer")));
            }
            check(&line).map_err(|why| Failure::Build(format!("the requirement \"{}\" {why}", quoted(&line))))?;
            lines.push(line);
        }
        Ok(Requirements { lines })
    }

    /// These requirements, and then others.
    pub fn and(mut self, others: Requirements) -> Requirements {
        self.lines.extend(others.lines);
        self
    }

    /// The base requirements of the server without packages that the model names itself, then the model's own: its version
    /// counts. Options of the base are left out, since the operator says where packages are.
    pub fn over(&self, base: &str) -> Requirements {
        let own: BTreeSet<String> = self.lines.iter().filter_map(|line| package(line)).collect();
        let is_kept = |line: &String| !line.starts_with('-') && package(line).is_none_or(|name| !own.contains(&name));
        let kept = joined(base.lines()).into_iter().filter(is_kept);
        Requirements { lines: kept.chain(self.lines.iter().cloned()).collect() }
    }

    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Lines without comments, with continued ones joined.
fn joined<'l>(given: impl IntoIterator<Item = &'l str>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut begun = String::new();
    for line in given.into_iter().flat_map(str::lines) {
        let line = line.trim();
        let line = if line.starts_with('#') { "" } else { line.split(" #").next().unwrap_or_default().trim_end() };
        match line.strip_suffix('\\') {
            Some(part) => begun.push_str(&format!("{} ", part.trim_end())),
            None => {
                begun.push_str(line);
                lines.push(std::mem::take(&mut begun));
            }
        }
    }
    lines.push(begun.trim_end().to_owned());
    lines.retain(|line| !line.is_empty());
    lines
}

/// Says why a line is not passed on.
fn check(line: &str) -> Result<(), &'static str> {
    if line.len() > LINE_BYTES_MAX {
        return Err("is too long");
    }
    if line.chars().any(char::is_control) {
        return Err("has a control character in it");
    }
    if line.contains("${") {
        return Err("names a variable: write its value");
    }
    if line.starts_with('-') {
        return check_option(line);
    }
    if line.starts_with("git+") || line.contains("@ git+") || line.contains("@git+") {
        return Err(
            "has to be built from source, which is not done here: name a published version or the URL of a wheel",
        );
    }
    let (requirement, hashes) = line.split_once(" --").unwrap_or((line, ""));
    if !hashes.is_empty() && hashes.split_whitespace().any(|word| !word.trim_start_matches('-').starts_with("hash=")) {
        return Err("has options: leave them out");
    }
    if is_web(requirement) {
        return Ok(());
    }
    let name = requirement.find(|c: char| !is_name_char(c)).unwrap_or(requirement.len());
    if name == 0 || !requirement.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(NO_PACKAGE);
    }
    let (specifier, _) = requirement[name..].split_once(';').unwrap_or((&requirement[name..], ""));
    match specifier.split_once('@') {
        Some((extras, url)) if extras.chars().all(is_specifier_char) && is_web(url.trim()) => Ok(()),
        Some(_) => Err(NO_PACKAGE),
        None if specifier.chars().all(is_specifier_char) => Ok(()),
        None => Err(NO_PACKAGE),
    }
}

const NO_PACKAGE: &str = "is neither a package with its versions nor the URL of a wheel: local files and folders cannot be \
                          installed, put them into the packages folder";

fn check_option(line: &str) -> Result<(), &'static str> {
    let at = line.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(line.len());
    let (option, value) = (&line[..at], line[at..].trim_start_matches(|c: char| c == '=' || c.is_whitespace()));
    if INDEX_OPTIONS.contains(&option) && is_web(value) {
        return Ok(());
    }
    Err("is an option that is not taken: only --index-url, --extra-index-url and --find-links with a URL are")
}

fn is_web(url: &str) -> bool {
    (url.starts_with("https://") || url.starts_with("http://")) && !url.contains(char::is_whitespace)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn is_specifier_char(c: char) -> bool {
    is_name_char(c) || matches!(c, ' ' | '\t' | ',' | '<' | '>' | '=' | '!' | '~' | '*' | '+' | '(' | ')' | '[' | ']')
}

/// The name of the package of a line, normalized; `None` of options and bare URLs.
fn package(line: &str) -> Option<String> {
    if is_web(line) || !line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let name = &line[..line.find(|c: char| !is_name_char(c)).unwrap_or(line.len())];
    let mut normalized = String::new();
    for part in name.split(['-', '_', '.']).filter(|part| !part.is_empty()) {
        if !normalized.is_empty() {
            normalized.push('-');
        }
        normalized.push_str(&part.to_ascii_lowercase());
    }
    Some(normalized)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> String {
        match Requirements::read([line]) {
            Err(Failure::Build(why)) => why,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn packages_and_urls_of_wheels_are_taken() {
        for line in [
            "numpy",
            "numpy==1.26.4",
            "Torch[cuda,x] >=2.0, <3",
            "uvicorn (>=0.24)",
            "torch==2.1+cu118",
            "x!=1.*; python_version < '3.12' and platform_machine == 'x86_64'",
            "x @ https://host/x-1-py3-none-any.whl",
            "x[a]@https://host/x-1-py3-none-any.whl",
            "https://host/x-1-py3-none-any.whl",
            "--extra-index-url https://host/whl/cpu",
            "--find-links=https://host/links",
            "-i https://host/simple",
            "x==1 --hash=sha256:aa --hash=sha256:bb",
        ] {
            let read = Requirements::read([line]).unwrap_or_else(|failure| panic!("{line}: {failure:?}"));
            assert_eq!(read.lines, [line]);
        }
        let read = Requirements::read(["# a comment", "", "a # why", "b==1 \\", "  --hash=sha256:aa", "c\nd"]).unwrap();
        assert_eq!(read.lines, ["a", "b==1 --hash=sha256:aa", "c", "d"]);
    }

    #[test]
    fn nothing_of_this_machine_is_read() {
        for line in [
            "-r other.txt",
            "-e .",
            "--editable=.",
            "-c /etc/passwd",
            "--index-url file:///srv",
            "--find-links /srv/wheels",
            "--trusted-host host",
            "./folder",
            "/srv/x.whl",
            "~/x",
            "..",
            "file:///srv/x.whl",
            "x @ file:///srv/x.whl",
            "x @ ./x.whl",
            "x@/srv/x.whl",
            "folder/x.whl",
            "x @ https://host/${HOME}",
            "${HOME}",
            "git+https://host/x",
            "x @ git+ssh://host/x",
            "x --config-settings=a=b",
            "x --hash=sha256:aa --global-option=b",
            "x\u{0}y",
            "x; y\u{7}",
            "https://host/x y",
        ] {
            assert!(refusal(line).starts_with("the requirement \""), "{line}");
        }
        assert!(refusal(&format!("x=={}", "1".repeat(LINE_BYTES_MAX))).len() < 200);
        assert!(refusal(&"x\n".repeat(LINES_MAX + 1)).contains("1000"));
    }

    #[test]
    fn the_model_s_version_counts_and_the_base_stays_otherwise() {
        let base = "# base\n-i https://host/simple\nnumpy>=1.23.5,<2.0 # why\npyyaml>=6\nTyping_Extensions\n";
        let own = Requirements::read(["NumPy == 2.1.3", "typing.extensions[x]", "https://host/x.whl", "new"]).unwrap();
        let merged = own.over(base);
        assert_eq!(merged.lines, ["pyyaml>=6", "NumPy == 2.1.3", "typing.extensions[x]", "https://host/x.whl", "new"]);
        assert_eq!(Requirements::default().over(base).lines, ["numpy>=1.23.5,<2.0", "pyyaml>=6", "Typing_Extensions"]);
        assert_eq!(merged.text().lines().count(), 5);
    }
}
