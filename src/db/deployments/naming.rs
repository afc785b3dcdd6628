//! What deployments are called. A name is one deployment of a model, and of a Chain.

use rusqlite::named_params;

use crate::db::Tx;
use crate::domain::deployments::DEVELOPMENT;
use crate::domain::serving::{DEPLOYMENT_NAME_CHARS_MAX, DeploymentName};
use crate::error::{Error, quoted};

/// How a new published deployment is called.
#[derive(Clone, Debug)]
pub enum Naming {
    /// After its number.
    Numbered,
    /// So, or it is refused.
    Exactly(DeploymentName),
    /// So, or while that is taken so with the time behind it.
    Suffixed(DeploymentName),
}

/// Whether a push to this model could be called so.
pub fn check(tx: &Tx, model_id: &str, naming: &Naming) -> Result<(), Error> {
    match naming {
        Naming::Exactly(name) => Owner::Model(model_id).check_free(tx, name),
        Naming::Numbered | Naming::Suffixed(_) => Ok(()),
    }
}

/// Whose deployments do not share a name.
#[derive(Clone, Copy, Debug)]
pub(in crate::db) enum Owner<'a> {
    Model(&'a str),
    Chain(&'a str),
}

impl Owner<'_> {
    /// The number and the name of a new published deployment.
    pub fn name(self, tx: &Tx, naming: &Naming) -> Result<(i64, String), Error> {
        let number = self.next_number(tx)?;
        let name = match naming {
            Naming::Numbered => format!("deployment-{number}"),
            Naming::Exactly(name) => {
                self.check_free(tx, name)?;
                name.as_str().to_owned()
            }
            Naming::Suffixed(name) if !self.is_taken(tx, name.as_str())? => name.as_str().to_owned(),
            Naming::Suffixed(name) => self.suffixed(tx, name.as_str())?,
        };
        Ok((number, name))
    }

    /// The number and the name of a copy: its source's, with the time behind it.
    pub fn name_of_copy(self, tx: &Tx, source: &str) -> Result<(i64, String), Error> {
        Ok((self.next_number(tx)?, self.suffixed(tx, source)?))
    }

    /// The development deployment's name is not given to another, whether there is one or not.
    pub fn check_free(self, tx: &Tx, name: &DeploymentName) -> Result<(), Error> {
        if !self.is_taken(tx, name.as_str())? {
            return Ok(());
        }
        let owner = self.columns().called;
        let name = quoted(name.as_str());
        Err(Error::conflict(format!("the {owner} has a deployment named \"{name}\": choose another name")))
    }

    fn is_taken(self, tx: &Tx, name: &str) -> Result<bool, Error> {
        if name == DEVELOPMENT {
            return Ok(true);
        }
        let Columns { deployment, key, id, .. } = self.columns();
        let query = format!("SELECT EXISTS (SELECT 1 FROM {deployment} WHERE {key} = :id AND name = :name)");
        Ok(tx.sql.prepare_cached(&query)?.query_row(named_params! { ":id": id, ":name": name }, |row| row.get(0))?)
    }

    /// The first second from now on whose name is free: one only, whatever else was named within this one.
    fn suffixed(self, tx: &Tx, name: &str) -> Result<String, Error> {
        let mut second = tx.now.0 / 1000;
        loop {
            let candidate = with_suffix(name, second);
            if !self.is_taken(tx, &candidate)? {
                return Ok(candidate);
            }
            second += 1;
        }
    }

    /// The next number whose name is free.
    fn next_number(self, tx: &Tx) -> Result<i64, Error> {
        let Columns { owner, deployment, key, id, .. } = self.columns();
        let count = format!(
            "UPDATE {owner} SET published = (
                 WITH RECURSIVE candidate (number) AS (
                     SELECT {owner}.published + 1
                     UNION ALL
                     SELECT number + 1 FROM candidate
                     WHERE EXISTS (SELECT 1 FROM {deployment}
                                   WHERE {key} = :id AND name = 'deployment-' || candidate.number)
                 )
                 SELECT max(number) FROM candidate
             )
             WHERE id = :id
             RETURNING published"
        );
        Ok(tx.sql.prepare_cached(&count)?.query_row(named_params! { ":id": id }, |row| row.get("published"))?)
    }

    fn columns(&self) -> Columns<'_> {
        match self {
            Owner::Model(id) => {
                Columns { called: "model", owner: "model", deployment: "deployment", key: "model_id", id }
            }
            Owner::Chain(id) => {
                Columns { called: "Chain", owner: "chain", deployment: "chain_deployment", key: "chain_id", id }
            }
        }
    }
}

/// Where the names of an owner's deployments are.
struct Columns<'a> {
    /// What messages call the owner.
    called: &'static str,
    /// Its table, and that of its deployments.
    owner: &'static str,
    deployment: &'static str,
    /// The column of a deployment that names its owner.
    key: &'static str,
    id: &'a str,
}

/// A name is ASCII, so it can be cut anywhere.
fn with_suffix(name: &str, second: i64) -> String {
    let suffix = format!(".{second}");
    let kept = name.len().min(DEPLOYMENT_NAME_CHARS_MAX - suffix.len());
    format!("{}{suffix}", &name[..kept])
}
