//! The devices of accelerators.

use std::fs;
use std::path::PathBuf;

/// The devices that a process with these accelerators may open: none without accelerators.
pub fn of(accelerators: &[u32]) -> Vec<PathBuf> {
    if accelerators.is_empty() {
        return Vec::new();
    }
    let own = accelerators.iter().map(|index| format!("/dev/nvidia{index}"));
    let shared = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"];
    own.chain(shared.map(str::to_owned)).map(PathBuf::from).filter(|path| path.exists()).collect()
}

/// The number of accelerators of this machine.
pub fn count() -> usize {
    let names = fs::read_dir("/dev").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_one = |name: &str| name.strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok());
    names.filter(|name| name.to_str().is_some_and(is_one)).count()
}
