//! Stories of whole identities, wired to each other in one thread, and what the tests of the engine share.

mod arrival_scenarios;
mod bound_scenarios;
mod clock_scenarios;
mod consent_scenarios;
mod contact_scenarios;
mod dial_scenarios;
mod doubt_scenarios;
mod fault_scenarios;
mod forgery_scenarios;
pub(in crate::engine) mod harness;
mod introduction_scenarios;
mod knock_scenarios;
mod limit_scenarios;
mod network_scenarios;
mod notice_scenarios;
mod promise_scenarios;
mod queue_scenarios;
mod revocation_scenarios;
mod rotation_scenarios;
pub(in crate::engine) mod samples;
mod scenarios;
mod share_scenarios;
mod stranger_scenarios;
