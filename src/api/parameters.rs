//! What handlers read from a request: segments of the path, parameters of the query, the body.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::api::body::Cost;
use crate::api::context::RequestContext;
use crate::domain::Paging;
use crate::error::Error;
use crate::wire;

/// The limits of a page: how many items a request may ask for, and how many it gets if it does not say.
const PAGE_ITEMS_MAX: usize = 1000;
const PAGE_ITEMS: usize = 100;

/// How often a parameter of the query may be repeated.
const QUERY_VALUES_MAX: usize = 100;

impl RequestContext<'_> {
    /// The segment of the path that the route calls `{name}`.
    pub fn param(&self, name: &str) -> &str {
        let at = self.path.position(name).expect("the route has the parameter that its access and handler ask for");
        &self.request.path[at]
    }

    /// A parameter of the query, if it was given. If it was given more than once, the first value counts.
    pub fn query(&self, name: &str) -> Option<&str> {
        debug_assert!(self.shapes.has_parameter(name), "the row of {} does not list `{name}`", self.path.text);
        self.request.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter of the query that may be repeated.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for more than 100 values.
    pub fn queries<'a>(&'a self, name: &str) -> Result<Vec<&'a str>, Error> {
        debug_assert!(self.shapes.has_parameter(name), "the row of {} does not list `{name}`", self.path.text);
        let given = self.request.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let values: Vec<&str> = given.collect();
        Error::check_count(name, values.len(), QUERY_VALUES_MAX)?;
        Ok(values)
    }

    /// A parameter of the query that is `true` or `false`; `false` if it is absent.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another value, or if it is given more than once.
    pub fn flag(&self, name: &str) -> Result<bool, Error> {
        if self.queries(name)?.len() > 1 {
            return Err(Error::field(name, "must be given once"));
        }
        match self.query(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Error::field(name, "must be true or false")),
        }
    }

    /// The page of the list `list` that `cursor` and `limit` ask for: 100 items without a `limit`, at most 1000.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a `limit` out of bounds, or for a `cursor` that no page of this list returned.
    pub fn paging(&self, list: &str) -> Result<Paging, Error> {
        self.paging_within(list, PAGE_ITEMS, PAGE_ITEMS_MAX)
    }

    /// The page of the list `list` that `cursor` and `limit` ask for: `items` items without a `limit`, at most
    /// `limit_max`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a `limit` out of bounds, or for a `cursor` that no page of this list returned.
    pub fn paging_within(&self, list: &str, items: usize, limit_max: usize) -> Result<Paging, Error> {
        let items_max = match self.query("limit") {
            None => items,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=limit_max).contains(limit))
                .ok_or_else(|| Error::field("limit", &format!("must be a number from 1 to {limit_max}")))?,
        };
        let after = match self.query("cursor") {
            None => String::new(),
            Some(cursor) => wire::read_cursor(list, cursor).ok_or_else(bad_cursor)?,
        };
        Ok(Paging { after, items_max })
    }

    /// The body as a `T`, or the default of `T` if the request has no body.
    ///
    /// # Errors
    ///
    /// Those of [`RequestContext::json`].
    pub fn json_or_default<T: DeserializeOwned + Default + JsonSchema + Send + 'static>(&self) -> Result<T, Error> {
        if self.request.body.is_empty() { Ok(T::default()) } else { self.json() }
    }

    /// The body as a `T`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with the name of the field that cannot be read, [`Error::Unread`] if the body must be read on
    /// the pool first.
    pub fn json<T: DeserializeOwned + JsonSchema + Send + 'static>(&self) -> Result<T, Error> {
        debug_assert!(self.shapes.takes_a::<T>(), "the row of {} takes no {}", self.path.text, T::schema_name());
        self.prepared.body.read(&self.request.body, Cost::Json, wire::parse)
    }

    /// The body, where reading it is more work than parsing JSON: large bodies are read on the pool. Ask for a body
    /// once, after the checks that do not need it and before anything is written.
    ///
    /// # Errors
    ///
    /// [`Error::Unread`] if the body must be read on the pool first, and the refusals of `read`.
    pub fn read<T: Send + 'static>(&self, read: fn(&[u8]) -> Result<T, Error>) -> Result<T, Error> {
        self.prepared.body.read(&self.request.body, Cost::High, read)
    }

    /// Takes the result of reading the body before the transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if there is no result.
    pub(super) fn read_before<T: 'static>(&self) -> Result<T, Error> {
        self.prepared.body.take()
    }
}

/// The refusal of a cursor that no page returned.
pub(super) fn bad_cursor() -> Error {
    Error::field("cursor", "must be the `cursor` of a page before; leave it out for the first page")
}
