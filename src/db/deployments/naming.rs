//! Names of deployments. They are unique among the deployments of a model, and among the deployments of a Chain.

use rusqlite::named_params;

use crate::db::Tx;
use crate::domain::deployments::DEVELOPMENT;
use crate::domain::serving::{DEPLOYMENT_NAME_CHARS_MAX, DeploymentName};
use crate::error::{Error, quoted};

/// How a new published deployment is named.
#[derive(Clone, Debug)]
pub enum Naming {
    /// By its number: `deployment-<number>`.
    Numbered,
    /// With this name. The push is refused if the name is taken.
    Exactly(DeploymentName),
    /// With this name, or with a time appended to it if the name is taken.
    Suffixed(DeploymentName),
}

/// Checks whether a push to this model may use this name.
///
/// # Errors
///
/// [`Error::Conflict`] for a name that is taken.
pub fn check(tx: &Tx, model_id: &str, naming: &Naming) -> Result<(), Error> {
    match naming {
        Naming::Exactly(name) => Owner::Model(model_id).check_free(tx, name),
        Naming::Numbered | Naming::Suffixed(_) => Ok(()),
    }
}

/// What the deployments belong to, with its id.
#[derive(Clone, Copy, Debug)]
pub(in crate::db) enum Owner<'a> {
    Model(&'a str),
    Chain(&'a str),
}

impl Owner<'_> {
    /// The number and the name of a new published deployment.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] for a requested exact name that is taken.
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

    /// The number and the name of a copy: the name of the source with a time appended.
    pub fn name_of_copy(self, tx: &Tx, source: &str) -> Result<(i64, String), Error> {
        Ok((self.next_number(tx)?, self.suffixed(tx, source)?))
    }

    /// Checks that no deployment has this name. The development deployment's name always counts as taken.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] for a name that is taken.
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

    /// The name with a time in seconds appended: now, or the first later second for which the name is free.
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

    /// The next number for which the name `deployment-<number>` is free.
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

/// The tables and columns that hold the names of an owner's deployments.
struct Columns<'a> {
    /// The owner's name in messages.
    called: &'static str,
    /// The table of the owner. The next field is the table of its deployments.
    owner: &'static str,
    deployment: &'static str,
    /// The column of the deployment's table that holds the owner's id.
    key: &'static str,
    id: &'a str,
}

/// Appends a time to a name, which is cut if it becomes too long. A name is ASCII, so it can be cut at any byte.
fn with_suffix(name: &str, second: i64) -> String {
    let suffix = format!(".{second}");
    let kept = name.len().min(DEPLOYMENT_NAME_CHARS_MAX - suffix.len());
    format!("{}{suffix}", &name[..kept])
}
