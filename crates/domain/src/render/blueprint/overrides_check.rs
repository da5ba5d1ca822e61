//! Checks override rules against the components they change.

use super::{
    BTreeMap, Component, ComponentPlan, Draft, Growth, OverridePatch, OverrideRule, ServiceAccounts, Value, autoscaled,
    bounds, overrides, result_problems, scales,
};

impl Draft {
    pub(super) fn check_overrides(&mut self, components: &[Component], rules: &[OverrideRule]) {
        let plans: Vec<ComponentPlan> = self.known().map(|(_, plan)| plan.clone()).collect();
        let workload = self.divided().map(|(_, plan)| plan.clone());
        if let Some(message) = bounds::changes_problem(rules) {
            self.say("spec.overrides".to_owned(), message);
            return;
        }
        let mut growths: BTreeMap<&str, Growth> = BTreeMap::new();
        for (r, rule) in rules.iter().enumerate() {
            let mut results: BTreeMap<&str, Value> = BTreeMap::new();
            for (p, patch) in rule.patches.iter().enumerate() {
                let place = format!("spec.overrides[{r}].patches[{p}]");
                if let Some(message) = form_problem(patch) {
                    self.say(place.clone(), message);
                }
                if !components.iter().any(|component| component.name == patch.component) {
                    let names: Vec<&str> = components.iter().map(|component| component.name.as_str()).collect();
                    self.say(
                        format!("{place}.component"),
                        format!("{} is not a component; use one of {}", patch.component, names.join(", ")),
                    );
                    continue;
                }
                let Some(plan) = plans.iter().find(|plan| plan.name == patch.component) else { continue };
                let accounts = ServiceAccounts::beside(&plans, plan);
                let object = results.entry(plan.name.as_str()).or_insert_with(|| plan.template.clone());
                let before = result_problems(plan, object, &accounts);
                if let Err(message) = overrides::apply(plan, patch, object, growths.entry(&plan.name).or_default()) {
                    self.say(place, message);
                    continue;
                }
                for (path, message) in result_problems(plan, object, &accounts) {
                    if !before.iter().any(|(there, _)| *there == path) {
                        self.say(place.clone(), format!("{}: {path}: {message}", patch.component));
                    }
                }
                if let Some(workload) =
                    workload.as_ref().filter(|workload| scales(object, workload) && !scales(&plan.template, workload))
                {
                    self.say(place, autoscaled(workload));
                }
            }
        }
    }
}

/// Refuses what the hub's schema refuses too, so that a check before `apply` reports it.
fn form_problem(patch: &OverridePatch) -> Option<String> {
    let in_container = [patch.image.is_some(), patch.env.is_some(), patch.args.is_some(), patch.command.is_some()];
    let elsewhere = [patch.labels.is_some(), patch.annotations.is_some(), patch.json_patch.is_some()];
    if in_container.iter().chain(&elsewhere).filter(|set| **set).count() != 1 {
        return Some("set exactly one of image, env, args, command, labels, annotations and jsonPatch".to_owned());
    }
    (patch.container.is_some() && !in_container.contains(&true))
        .then(|| "container goes with image, env, args or command; remove it".to_owned())
}
