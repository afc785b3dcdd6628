//! Model APIs of an organization: its default team alone has them.
