//! Usage, and what it costs. Billing stays at the organization.
