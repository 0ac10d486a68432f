//! The address plan of a command, and the allowlist for it.

use std::sync::Arc;

use netssm_replay::guard::{Allowlist, Gate, Guard};
use netssm_replay::rewrite::AddressPlan;

use crate::cli::generate::AddressArgs;
use crate::exit::{Failure, Outcome};
use crate::profile::{Profile, any_label, default_addresses};

/// The plan that the arguments ask for: a profile's plan, or the default plan, perhaps with other prefixes.
///
/// # Errors
/// A profile with a fault (configuration), or prefixes that cannot be used together (usage).
pub(super) fn plan(args: &AddressArgs) -> Outcome<AddressPlan> {
    if let Some(file) = &args.profile {
        return Ok(Profile::load(file, &any_label).map_err(Failure::config)?.addresses);
    }
    let mut plan = default_addresses();
    if !args.clients.is_empty() {
        plan.clients.clone_from(&args.clients);
    }
    if !args.servers.is_empty() {
        plan.servers.clone_from(&args.servers);
    }
    plan.validate().map_err(Failure::usage)?;
    Ok(plan)
}

/// An allowlist of exactly the prefixes that the plan uses.
///
/// # Errors
/// None for a valid plan.
pub(super) fn allowlist(plan: &AddressPlan) -> Outcome<Allowlist> {
    let prefixes: Vec<_> = plan.clients.iter().chain(&plan.servers).copied().collect();
    Allowlist::for_plan(plan, &prefixes).map_err(Failure::config)
}

/// A guard with that allowlist, and its gate.
///
/// # Errors
/// As for [`allowlist`].
pub(super) fn guard(plan: &AddressPlan) -> Outcome<(Guard, Arc<Gate>)> {
    let gate = Arc::new(Gate::new());
    Ok((Guard::new(Arc::new(allowlist(plan)?), Arc::clone(&gate)), gate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(clients: &[&str], servers: &[&str]) -> AddressArgs {
        let parse = |list: &[&str]| list.iter().map(|p| p.parse().unwrap()).collect();
        AddressArgs { clients: parse(clients), servers: parse(servers), profile: None }
    }

    #[test]
    fn prefixes_replace_the_default_ones_of_their_side() {
        let changed = plan(&args(&["192.168.0.0/16"], &[])).unwrap();
        assert_eq!(changed.clients, ["192.168.0.0/16".parse().unwrap()]);
        assert_eq!(changed.servers, default_addresses().servers);
        assert!(allowlist(&changed).is_ok());
    }

    #[test]
    fn prefixes_that_overlap_are_a_usage_error() {
        let error = plan(&args(&["10.20.4.0/24"], &[])).unwrap_err();
        assert!(matches!(error, Failure::Usage(_)), "{error}");
        assert!(error.to_string().contains("overlaps"), "{error}");
    }
}
