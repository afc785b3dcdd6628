//! What a model's process gives up before it runs the model's command.

use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::system_files::READS;
use super::{namespaces, view};
use crate::wire::processes::{Ids, Landlock, Plan};

/// The newest version of Landlock that we know the rights of. What an older kernel lacks is left out.
const NEWEST: ABI = ABI::V10;

/// Devices that every process may open.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Folders that are each process's own in a mount namespace.
const OWN: &[&str] = &["/tmp", "/dev/shm"];

/// The version of Landlock that this kernel has; none if it is off.
pub fn landlock_version() -> Option<i32> {
    // SAFETY: asks for the version; the kernel reads no attributes then.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0_usize, 1_u32) };
    i32::try_from(version).ok().filter(|version| *version > 0)
}

/// Gives up rights, for this process and all that it will start.
///
/// # Errors
/// What could not be given up. The command must not run then.
pub fn apply(plan: &Plan) -> Result<(), String> {
    let because = |what: &str| {
        let what = what.to_owned();
        move |cause: Errno| format!("{what}: {cause}")
    };
    namespaces::enter(plan.namespaces).map_err(|cause| format!("a namespace cannot be made: {cause}"))?;
    if let Some(mounts) = &plan.mounts {
        view::narrow(plan, mounts).map_err(|cause| format!("the files of others cannot be covered: {cause}"))?;
    }
    set_no_new_privs(true).map_err(because("new privileges cannot be given up"))?;
    if plan.landlock == Landlock::Required {
        restrict(plan)?;
    }
    empty_bounding_set().map_err(because("capabilities cannot be dropped for good"))?;
    if let Some(user) = plan.user {
        become_user(user).map_err(because("the user cannot be changed"))?;
    }
    drop_capabilities().map_err(because("capabilities cannot be dropped"))?;
    if plan.bubblewrap.is_none() {
        // Bubblewrap has the same for its own.
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(because("no signal of the parent's end"))?;
    }
    Ok(())
}

fn restrict(plan: &Plan) -> Result<(), String> {
    let all = AccessFs::from_all(NEWEST);
    let read = AccessFs::from_read(NEWEST);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let restricted = || {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .scope(Scope::from_all(NEWEST))?
            .create()?;
        for path in READS {
            rules = allow_if_there(rules, Path::new(path), read)?;
        }
        for path in DEVICES {
            rules = allow_if_there(rules, Path::new(path), device)?;
        }
        for path in &plan.devices {
            rules = allow_if_there(rules, path, device)?;
        }
        for path in &plan.reads {
            rules = allow(rules, path, read)?;
        }
        for path in &plan.writes {
            rules = allow(rules, path, all)?;
        }
        if plan.bubblewrap.is_some() || plan.mounts.is_some() {
            for path in OWN {
                rules = allow_if_there(rules, Path::new(path), all)?;
            }
        }
        Ok(rules.restrict_self()?)
    };
    let status = restricted().map_err(|cause: Box<dyn std::error::Error>| format!("Landlock: {cause}"))?;
    match status.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("Landlock is not enforced".to_owned()),
    }
}

type Allowed = Result<RulesetCreated, Box<dyn std::error::Error>>;

fn allow(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Allowed {
    let opened = PathFd::new(path)?;
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    Ok(rules.add_rule(PathBeneath::new(opened, access))?)
}

fn allow_if_there(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Allowed {
    if path.exists() { allow(rules, path, access) } else { Ok(rules) }
}

/// Sees to it that no program that is executed later has capabilities, also for root.
fn empty_bounding_set() -> rustix::io::Result<()> {
    if !rustix::thread::capabilities(None)?.effective.contains(CapabilitySet::SETPCAP) {
        return Ok(()); // it has none to give up, and gets none: new privileges are given up
    }
    for capability in CapabilitySet::all().iter() {
        match remove_capability_from_bounding_set(capability) {
            Err(Errno::INVAL) => {} // this kernel does not know it
            removed => removed?,
        }
    }
    set_capabilities_secure_bits(
        CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
    )
}

/// Becomes another user, with its group alone. This process has one thread.
fn become_user(ids: Ids) -> rustix::io::Result<()> {
    let (user, group) = (Uid::from_raw(ids.user), Gid::from_raw(ids.group));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)
}

fn drop_capabilities() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    clear_ambient_capability_set()?;
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}
