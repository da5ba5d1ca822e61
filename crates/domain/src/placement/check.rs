//! Checks a placement policy for problems that the rules of the CRD cannot express.

use crds::PlacementSpec;
use crds::placement_policy::v1alpha1::WeightMode;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A problem that must be fixed before placement can use the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecProblem {
    /// Path of the field, relative to the Application.
    pub field: String,
    /// Description of the problem and the remedy.
    pub message: String,
}

/// Checks a policy against the replicas asked for, and returns all problems.
pub fn check_spec(spec: &PlacementSpec, replicas: i32) -> Vec<SpecProblem> {
    let mut problems = Vec::new();
    let mut problem = |field: &str, message: String| {
        problems.push(SpecProblem { field: format!("spec.placement.{field}"), message });
    };
    let mut fixed: i64 = 0;
    let mut percent: i64 = 0;
    for (cell, share) in &spec.shares {
        match parse_share(share) {
            Some(Share::Replicas(count)) => fixed += i64::from(count),
            Some(Share::Percent(part)) => percent += i64::from(part),
            None => problem(
                &format!("shares[{cell}]"),
                "is neither a number of replicas of at least 0 nor a percentage from 0% to 100%".to_owned(),
            ),
        }
    }
    if percent > 100 {
        problem("shares", format!("percentages add up to {percent}%; lower them to 100% or less"));
    }
    let of_percent = i64::from(replicas) * percent.min(100) / 100;
    if fixed + of_percent > i64::from(replicas) {
        problem(
            "shares",
            format!(
                "ask for {} replicas, but spec.replicas is {replicas}; lower the shares or raise spec.replicas",
                fixed + of_percent
            ),
        );
    }
    if spec.weights.mode == WeightMode::Static && spec.weights.static_weights.values().all(|weight| *weight <= 0) {
        problem("weights.static", "gives no cell a weight above 0; name at least one".to_owned());
    }
    if spec.weights.mode != WeightMode::Static && !spec.weights.static_weights.is_empty() {
        problem("weights.static", "has no effect unless weights.mode is Static; set the mode or remove it".to_owned());
    }
    for (i, limit) in spec.limits.iter().enumerate() {
        if let (Some(min), Some(max)) = (limit.min, limit.max)
            && min > max
        {
            problem(&format!("limits[{i}]"), format!("min {min} exceeds max {max}"));
        }
    }
    for (i, spread) in spec.spread.iter().enumerate() {
        let nothing = spread.max_skew.is_none() && spread.min_domains.is_none() && spread.survive_loss.is_none();
        if nothing {
            problem(&format!("spread[{i}]"), "asks for nothing; set maxSkew, minDomains or surviveLoss".to_owned());
        }
        if let (Some(survive), Some(min)) = (&spread.survive_loss, spread.min_domains)
            && survive.domains >= min
        {
            problem(
                &format!("spread[{i}].surviveLoss.domains"),
                format!("must be lower than minDomains {min}: nothing is left when all domains are lost"),
            );
        }
    }
    problems
}

/// A share of the policy, parsed.
pub(crate) enum Share {
    Replicas(i32),
    Percent(i32),
}

pub(crate) fn parse_share(share: &IntOrString) -> Option<Share> {
    match share {
        IntOrString::Int(count) => (*count >= 0).then_some(Share::Replicas(*count)),
        IntOrString::String(text) => {
            let part: i32 = text.strip_suffix('%')?.parse().ok()?;
            (0..=100).contains(&part).then_some(Share::Percent(part))
        }
    }
}
