//! What this machine has for models and jobs, and who has it: memory as it was asked for, and accelerators, each with one
//! owner at a time.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::domain::instance_types::Resources;
use crate::error::{Error, quoted};

/// What `config.yaml` gets if it states nothing.
const MEMORY_MIB: u32 = 2048;
const MILLICPUS: u32 = 1000;
const MEMORY_MIB_MIN: u32 = 64;

/// What one process tree may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    pub memory_bytes: u64,
    pub millicpus: u32,
    pub accelerators: Option<Accelerators>,
}

/// A kind of accelerator, such as `H100`, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accelerators {
    pub kind: String,
    pub count: u32,
}

impl Needs {
    /// What a configuration asks for.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if a requirement cannot be read.
    pub fn of_config(config: &Map<String, Value>) -> Result<Needs, Error> {
        let Resources { millicpus, memory_mib, gpus } = Resources::of_config(config)?;
        let memory_mib = if memory_mib == 0 { MEMORY_MIB } else { memory_mib.max(MEMORY_MIB_MIN) };
        Ok(Needs {
            memory_bytes: u64::from(memory_mib) << 20,
            millicpus: if millicpus == 0 { MILLICPUS } else { millicpus },
            accelerators: gpus.filter(|(_, count)| *count > 0).map(|(kind, count)| Accelerators { kind, count }),
        })
    }
}

/// An accelerator of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accelerator {
    /// Its index, as `CUDA_VISIBLE_DEVICES` names it.
    pub index: u32,
    /// Its name, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
}

impl Accelerator {
    /// Whether it is of this kind: one of the words of its name is that.
    fn is(&self, kind: &str) -> bool {
        let mut words = self.name.split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| word.eq_ignore_ascii_case(kind))
    }
}

/// Whether accelerators that are asked for are required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Refuse,
    /// What asks for an accelerator runs without one.
    Ignore,
}

/// What the machine has.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The memory that all together may ask for. `None`: it is not limited.
    pub memory_bytes_max: Option<u64>,
    /// The memory that the machine has.
    pub memory_bytes: u64,
    pub accelerators: Vec<Accelerator>,
    pub missing: Missing,
}

/// What is in use now, by the id of the owner.
#[derive(Debug)]
pub struct Capacity {
    machine: Machine,
    owners: HashMap<String, Owned>,
}

#[derive(Debug)]
struct Owned {
    memory_bytes: u64,
    accelerators: Vec<u32>,
}

/// Why nothing was reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It fits when others have ended. The sentence says what it waits for.
    Later(String),
    /// It never fits on this machine. The sentence names what the machine lacks.
    Never(String),
}

impl Capacity {
    pub fn new(machine: Machine) -> Capacity {
        Capacity { machine, owners: HashMap::new() }
    }

    /// Reserves what is needed for an owner. Returns the indexes of its accelerators.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if it does not fit now or never.
    pub fn reserve(&mut self, owner: &str, needs: &Needs) -> Result<Vec<u32>, Refusal> {
        let asked = needs.accelerators.as_ref().filter(|_| self.machine.missing == Missing::Refuse);
        // What never fits is said at once, whatever is in use now.
        self.check_machine(needs.memory_bytes)?;
        asked.map_or(Ok(()), |asked| self.check_kind(asked))?;
        self.check_memory(needs.memory_bytes)?;
        let accelerators = asked.map_or(Ok(Vec::new()), |asked| self.free(asked))?;
        let owned = Owned { memory_bytes: needs.memory_bytes, accelerators: accelerators.clone() };
        self.owners.insert(owner.to_owned(), owned);
        Ok(accelerators)
    }

    /// Frees what an owner has.
    pub fn release(&mut self, owner: &str) {
        self.owners.remove(owner);
    }

    fn check_machine(&self, needed: u64) -> Result<(), Refusal> {
        let Machine { memory_bytes_max, memory_bytes, .. } = &self.machine;
        if needed > *memory_bytes {
            return Err(Refusal::Never(format!(
                "it asks for {} of memory, and this machine has {}: ask for less under resources",
                shown(needed),
                shown(*memory_bytes)
            )));
        }
        match *memory_bytes_max {
            Some(max) if needed > max => Err(Refusal::Never(format!(
                "it asks for {} of memory, and all models together may have {} (`--runner-memory-max`): ask for less under \
                 resources",
                shown(needed),
                shown(max)
            ))),
            Some(_) | None => Ok(()),
        }
    }

    fn check_memory(&self, needed: u64) -> Result<(), Refusal> {
        let Some(max) = self.machine.memory_bytes_max else { return Ok(()) };
        let used: u64 = self.owners.values().map(|owned| owned.memory_bytes).sum();
        if used.saturating_add(needed) > max {
            return Err(Refusal::Later(format!(
                "it asks for {} of memory, and {} of {} are in use: it waits until others have ended",
                shown(needed),
                shown(used),
                shown(max)
            )));
        }
        Ok(())
    }

    /// The accelerators of this kind.
    fn of_kind(&self, kind: &str) -> Vec<u32> {
        self.machine.accelerators.iter().filter(|one| one.is(kind)).map(|one| one.index).collect()
    }

    fn check_kind(&self, Accelerators { kind, count }: &Accelerators) -> Result<(), Refusal> {
        let there = self.of_kind(kind).len();
        if there >= *count as usize {
            return Ok(());
        }
        let kind = quoted(kind);
        Err(Refusal::Never(format!(
            "it asks for {count} accelerator(s) of the kind {kind}, and this machine has {there}: change \
             resources.accelerator, or let the operator start the server with `--runner-ignore-accelerators`"
        )))
    }

    fn free(&self, Accelerators { kind, count }: &Accelerators) -> Result<Vec<u32>, Refusal> {
        let (there, count) = (self.of_kind(kind), *count as usize);
        let kind = quoted(kind);
        let is_owned = |index: &u32| self.owners.values().any(|owned| owned.accelerators.contains(index));
        let free: Vec<u32> = there.iter().copied().filter(|index| !is_owned(index)).take(count).collect();
        if free.len() < count {
            return Err(Refusal::Later(format!(
                "it asks for {count} accelerator(s) of the kind {kind}, and {} of {} are free: it waits until others have \
                 ended",
                free.len(),
                there.len()
            )));
        }
        Ok(free)
    }
}

/// Bytes in the largest unit in which they are at least one.
fn shown(bytes: u64) -> String {
    let (unit, name) = if bytes >= 1 << 30 { (1u64 << 30, "GiB") } else { (1 << 20, "MiB") };
    let tenths = bytes * 10 / unit;
    if tenths.is_multiple_of(10) {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn capacity(memory_bytes_max: Option<u64>, names: &[&str], missing: Missing) -> Capacity {
        let accelerators =
            names.iter().zip(0..).map(|(name, index)| Accelerator { index, name: (*name).to_owned() }).collect();
        Capacity::new(Machine { memory_bytes_max, memory_bytes: 64 << 30, accelerators, missing })
    }

    fn needs(memory_gib: u64, accelerators: Option<(&str, u32)>) -> Needs {
        Needs {
            memory_bytes: memory_gib << 30,
            millicpus: 1000,
            accelerators: accelerators.map(|(kind, count)| Accelerators { kind: kind.to_owned(), count }),
        }
    }

    #[test]
    fn memory_that_is_in_use_is_waited_for_and_too_much_is_never_there() {
        let mut capacity = capacity(Some(3 << 30), &[], Missing::Refuse);
        capacity.reserve("a", &needs(2, None)).unwrap();
        let Err(Refusal::Later(why)) = capacity.reserve("b", &needs(2, None)) else { panic!("it fits") };
        assert!(why.contains("2 GiB of 3 GiB are in use"), "{why}");
        capacity.reserve("b", &needs(1, None)).unwrap();
        capacity.release("a");
        capacity.reserve("c", &needs(2, None)).unwrap();
        let Err(Refusal::Never(why)) = capacity.reserve("d", &needs(4, None)) else { panic!("it fits") };
        assert!(why.contains("--runner-memory-max"), "{why}");
        assert!(matches!(capacity.reserve("d", &needs(65, None)), Err(Refusal::Never(_))));
    }

    #[test]
    fn an_accelerator_has_one_owner() {
        let names = ["NVIDIA H100 80GB HBM3", "Tesla T4", "NVIDIA H100 80GB HBM3"];
        let mut capacity = capacity(None, &names, Missing::Refuse);
        assert_eq!(capacity.reserve("a", &needs(1, Some(("H100", 1)))), Ok(vec![0]));
        assert!(matches!(capacity.reserve("b", &needs(1, Some(("H100", 2)))), Err(Refusal::Later(_))));
        assert_eq!(capacity.reserve("b", &needs(1, Some(("T4", 1)))), Ok(vec![1]));
        capacity.release("a");
        assert_eq!(capacity.reserve("c", &needs(1, Some(("H100", 2)))), Ok(vec![0, 2]));
        let Err(Refusal::Never(why)) = capacity.reserve("d", &needs(1, Some(("A100", 1)))) else { panic!("it fits") };
        assert!(why.contains("A100") && why.contains("--runner-ignore-accelerators"), "{why}");
        let mut without = self::capacity(None, &[], Missing::Ignore);
        assert_eq!(without.reserve("a", &needs(1, Some(("A100", 8)))), Ok(Vec::new()));
    }

    #[test]
    fn a_configuration_states_its_needs() {
        let read = |config: Value| Needs::of_config(config.as_object().unwrap());
        let some = read(json!({ "resources": { "memory": "512Mi", "cpu": "500m", "accelerator": "H100:2" } })).unwrap();
        let accelerators = Some(Accelerators { kind: "H100".to_owned(), count: 2 });
        assert_eq!(some, Needs { memory_bytes: 512 << 20, millicpus: 500, accelerators });
        let none = read(json!({})).unwrap();
        assert_eq!(none, Needs { memory_bytes: 2 << 30, millicpus: 1000, accelerators: None });
    }
}
