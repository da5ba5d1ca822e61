//! Checks and classifies the components of a spec.

mod overrides_check;

use std::collections::{BTreeMap, BTreeSet};

use crds::application::v1alpha1::{ApplicationSpec, Component, FailoverMode, OverridePatch, OverrideRule, Scope};
use crds::cluster::v1alpha1::Amounts;
use serde_json::{Value, json};
use vocabulary::{AppKey, ContentHash};

use super::accounts::{ServiceAccounts, foreign_accounts};
use super::bounds::{self, Growth, REPLICAS_MAX, SIZE_MAX};
use super::checks::{name_problem, result_problems, scales};
use super::fields::canonical_hash;
use super::intake_checks::{intake_problems, overridden_problems, scaler_problem};
use super::kinds::{self, Scopes};
use super::overrides;
use super::pod::pod_amounts;
use super::spelling::{kind_problem, without_empty_fields};
use super::{Blueprint, ComponentPlan, Problem};

/// Maximum length of a label value, and so of the name of an Application.
const LABEL_VALUE_MAX: usize = 63;

/// Checks a whole spec and classifies its components. Returns all problems, not only the first.
pub fn blueprint(app: &AppKey, spec: &ApplicationSpec) -> Result<Blueprint, Vec<Problem>> {
    let mut draft = Draft::read(app, &spec.components, &spec.overrides);
    draft.check_overrides(&spec.components, &spec.overrides);
    draft.check_amounts();
    draft.check_for_intake(&spec.components, &spec.overrides);
    let divided = draft.divided().map(|(index, plan)| (index, plan.name.clone(), plan.kind.clone(), plan.replicas));
    match (divided, spec.replicas) {
        (Some((_, name, kind, _)), None) => {
            draft.say("spec.replicas".to_owned(), format!("{kind} component {name} is Divided and needs a number; set spec.replicas"));
        }
        (Some((index, _, _, Some(own))), Some(replicas)) if own != replicas => draft.say(
            format!("spec.components[{index}].template.spec.replicas"),
            format!("{own} differs from spec.replicas {replicas}, which is divided over cells; remove template spec.replicas"),
        ),
        (None, Some(_)) if draft.complete() && draft.knows_kinds() => draft.say(
            "spec.replicas".to_owned(),
            "no component is Divided, so nothing takes it; remove it, or set scope: Divided on one workload".to_owned(),
        ),
        _ => {}
    }
    if spec.failover.mode == FailoverMode::Reschedule {
        draft.check_reschedule();
    }
    draft.finish(&spec.components, &spec.overrides)
}

/// Classifies the components of a stored revision.
///
/// `spec.replicas` is not part of a revision, so it is not checked.
///
/// Overrides are checked when they are rendered, and amounts are bounded when they are read. An older version may have
/// accepted a spec that [`blueprint`] refuses now, and such an Application must still be removable.
pub fn blueprint_of_revision(
    app: &AppKey,
    components: &[Component],
    overrides: &[OverrideRule],
) -> Result<Blueprint, Vec<Problem>> {
    Draft::read(app, components, overrides).finish(components, overrides)
}

/// State while a spec is read: the components that could be classified, with their places in the spec.
struct Draft {
    plans: Vec<Option<ComponentPlan>>,
    problems: Vec<Problem>,
}

impl Draft {
    fn read(app: &AppKey, components: &[Component], rules: &[OverrideRule]) -> Self {
        let mut draft = Self { plans: Vec::new(), problems: Vec::new() };
        draft.check_whole(app, components, rules);
        for (i, component) in components.iter().enumerate() {
            let plan = draft.classify(app, component, &format!("spec.components[{i}]"));
            draft.plans.push(plan);
        }
        draft.check_together(components);
        draft
    }

    fn say(&mut self, field: String, message: String) {
        self.problems.push(Problem { field, message });
    }

    /// Whether every component could be classified.
    fn complete(&self) -> bool {
        self.plans.iter().all(Option::is_some)
    }

    /// Whether no problem concerns the kind or API version of a component.
    ///
    /// The kind that the author meant might be Divided, so such a problem prevents that check.
    fn knows_kinds(&self) -> bool {
        let is_of_kind = |field: &str| field.ends_with(".template.kind") || field.ends_with(".template.apiVersion");
        !self.problems.iter().any(|problem| is_of_kind(&problem.field))
    }

    fn known(&self) -> impl Iterator<Item = (usize, &ComponentPlan)> {
        self.plans.iter().enumerate().filter_map(|(i, plan)| plan.as_ref().map(|plan| (i, plan)))
    }

    fn divided(&self) -> Option<(usize, &ComponentPlan)> {
        self.known().find(|(_, plan)| plan.scope == Scope::Divided)
    }

    fn check_whole(&mut self, app: &AppKey, components: &[Component], rules: &[OverrideRule]) {
        if app.name.len() > LABEL_VALUE_MAX {
            self.say(
                "metadata.name".to_owned(),
                format!(
                    "{} has {} characters; it becomes a label and may have {LABEL_VALUE_MAX}: shorten it",
                    app.name,
                    app.name.len()
                ),
            );
        }
        let size = json!({ "components": components, "overrides": rules }).to_string().len();
        if size > SIZE_MAX {
            self.say(
                "spec".to_owned(),
                format!("components and overrides are {size} bytes as JSON, the limit is {SIZE_MAX}; move large data out of the Application or split it"),
            );
        }
        if components.is_empty() {
            self.say("spec.components".to_owned(), "there is nothing to run; add a component".to_owned());
        }
        let mut seen = BTreeSet::new();
        for (i, component) in components.iter().enumerate() {
            if !seen.insert(&component.name) {
                self.say(
                    format!("spec.components[{i}].name"),
                    format!("{} is the name of two components; rename one", component.name),
                );
            } else if component.name.parse::<vocabulary::CellName>().is_err() {
                self.say(
                    format!("spec.components[{i}].name"),
                    format!("{:?} is not 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit; correct it", component.name),
                );
            }
        }
    }

    /// Classifies one component by itself.
    ///
    /// `None` when the component is too incomplete to be checked together with the others.
    fn classify(&mut self, app: &AppKey, component: &Component, place: &str) -> Option<ComponentPlan> {
        let template = &without_empty_fields(&component.template);
        let text = |pointer: &str| {
            template.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let found = [text("/apiVersion"), text("/kind"), text("/metadata/name")];
        for (found, field) in found.iter().zip(["apiVersion", "kind", "metadata.name"]) {
            if found.is_none() {
                self.say(format!("{place}.template.{field}"), "is missing; set it".to_owned());
            }
        }
        if let Some(namespace) = template.pointer("/metadata/namespace")
            && namespace.as_str() != Some(app.namespace.as_str())
        {
            self.say(
                format!("{place}.template.metadata.namespace"),
                format!("{namespace} is not the Application's own namespace {}; remove it", app.namespace),
            );
        }
        let [Some(api_version), Some(kind), name] = found else { return None };
        if let Some(message) = kinds::refusal(&api_version, &kind, template) {
            self.say(format!("{place}.template.kind"), message);
            return None;
        }
        let object_name = name?;
        if let Some(message) = name_problem(&api_version, &kind, &object_name) {
            self.say(format!("{place}.template.metadata.name"), message);
        }
        let declared_replicas = template.pointer("/spec/replicas").filter(|replicas| !replicas.is_null());
        let replicas =
            declared_replicas.and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok()).filter(|n| *n >= 0);
        if declared_replicas.is_some() && replicas.is_none() && kinds::has_replicas(&api_version, &kind) {
            self.say(
                format!("{place}.template.spec.replicas"),
                "is not a number of replicas; correct or remove it".to_owned(),
            );
        }
        let replicas = replicas.map(|replicas| replicas.min(REPLICAS_MAX));
        let scope = self.scope(component, &api_version, &kind, declared_replicas.is_some(), place)?;
        let pods = kinds::pod_template_path(&api_version, &kind, template);
        let pod = pods.map_or_else(Amounts::default, |path| {
            pod_amounts(kinds::at(template, path).and_then(|template| template.get("spec")).unwrap_or(&Value::Null))
        });
        Some(ComponentPlan {
            name: component.name.clone(),
            scope,
            rank: kinds::rank(&api_version, &kind, pods.is_some()),
            api_version,
            kind,
            object_name,
            workload: pods.is_some(),
            adopt: component.adopt,
            pod,
            replicas,
            template: template.clone(),
        })
    }

    fn scope(
        &mut self,
        component: &Component,
        api_version: &str,
        kind: &str,
        counted: bool,
        place: &str,
    ) -> Option<Scope> {
        let remedy = match (kinds::scopes(api_version, kind), component.scope) {
            (_, Some(scope)) => {
                let Some(message) = kinds::scope_problem(api_version, kind, scope) else { return Some(scope) };
                message
            }
            (Scopes::Scalable, None) => return Some(Scope::Divided),
            (Scopes::OnlyPerCell, None) => return Some(Scope::PerCell),
            (Scopes::NotDivided, None) => return Some(Scope::PerCluster),
            (Scopes::Unlisted, None) if !counted => return Some(Scope::PerCluster),
            (Scopes::RunsOnce, None) => {
                format!(
                    "a {kind} must say where it runs; set scope: Once (one cluster) or scope: PerCluster (every cluster)"
                )
            }
            (Scopes::Unlisted, None) => {
                format!(
                    "{kind} has spec.replicas and no known default; set scope to Divided, PerCell, PerCluster or Once"
                )
            }
        };
        self.say(format!("{place}.scope"), remedy);
        None
    }

    /// Checks the components against each other.
    fn check_together(&mut self, components: &[Component]) {
        let mut found = Vec::new();
        let mut say = |field: String, message: String| found.push(Problem { field, message });
        let mut objects: BTreeMap<(&str, &str, &str), &str> = BTreeMap::new();
        let divided = self.divided();
        for (i, plan) in self.known() {
            // Placement decides which cluster allows an account of a template.
            let accounts = ServiceAccounts::rendered(&plan.template, plan, &BTreeMap::new());
            let place = format!("spec.components[{i}]");
            let object = (kinds::group(&plan.api_version), plan.kind.as_str(), plan.object_name.as_str());
            if let Some(other) = objects.get(&object) {
                say(
                    format!("{place}.template.metadata.name"),
                    format!(
                        "{} {} is declared by component {other} too; rename one or remove it",
                        plan.kind, plan.object_name
                    ),
                );
            } else {
                objects.insert(object, &plan.name);
            }
            if let Some((first, one)) = divided.filter(|(first, _)| *first != i && plan.scope == Scope::Divided) {
                let why = if components[first].scope.is_none() || components[i].scope.is_none() {
                    " (the default of their kinds)"
                } else {
                    ""
                };
                say(
                    format!("{place}.scope"),
                    format!(
                        "{} and {} are both Divided{why} and spec.replicas is for one; set scope: PerCell on {}, with its own spec.replicas",
                        one.name, plan.name, plan.name
                    ),
                );
            }
            if let Some((_, workload)) = divided.filter(|(_, workload)| scales(&plan.template, workload)) {
                say(format!("{place}.template.spec.scaleTargetRef"), autoscaled(workload));
            }
            for (path, message) in result_problems(plan, &plan.template, &accounts) {
                say(format!("{place}.template.{path}"), message);
            }
        }
        self.problems.extend(found);
    }

    /// Refuses amounts that no cluster has. Sums over the fleet would count them as really held.
    fn check_amounts(&mut self) {
        let mut found = Vec::new();
        for (i, plan) in self.known() {
            let place = format!("spec.components[{i}].template");
            let replicas = plan.template.pointer("/spec/replicas").and_then(Value::as_i64);
            if replicas.is_some_and(|replicas| replicas > i64::from(REPLICAS_MAX)) {
                let message = format!("is more than {REPLICAS_MAX}, the most one Application may have; lower it");
                found.push(Problem { field: format!("{place}.spec.replicas"), message });
            }
            let Some(pods) = kinds::pod_template_path(&plan.api_version, &plan.kind, &plan.template) else { continue };
            let spec = kinds::at(&plan.template, pods).and_then(|template| template.get("spec"));
            for (path, message) in bounds::amount_problems(spec.unwrap_or(&Value::Null)) {
                found.push(Problem { field: format!("{place}.{}.spec.{path}", pods.join(".")), message });
            }
        }
        self.problems.extend(found);
    }

    /// Refuses what no new spec may contain, although a stored revision may.
    fn check_for_intake(&mut self, components: &[Component], rules: &[OverrideRule]) {
        let mut found = Vec::new();
        let plans: Vec<&ComponentPlan> = self.known().map(|(_, plan)| plan).collect();
        for (i, component) in components.iter().enumerate() {
            let text = |field: &str| component.template[field].as_str().unwrap_or_default();
            if let Some((field, message)) = kind_problem(text("apiVersion"), text("kind")) {
                found.push(Problem { field: format!("spec.components[{i}].template.{field}"), message });
            }
        }
        for (i, plan) in self.known() {
            let place = format!("spec.components[{i}].template");
            for (path, message) in intake_problems(plan, &plan.template) {
                found.push(Problem { field: format!("{place}.{path}"), message });
            }
            if let Some(message) = scaler_problem(&plan.template, &plans) {
                found.push(Problem { field: format!("{place}.spec.scaleTargetRef"), message });
            }
        }
        for (r, rule) in rules.iter().enumerate() {
            found.extend(
                overridden_problems(rule, &plans)
                    .into_iter()
                    .map(|(p, message)| Problem { field: format!("spec.overrides[{r}].patches[{p}]"), message }),
            );
        }
        self.problems.extend(found);
    }

    /// Refuses `Reschedule` for components with an identity or a disk of their own.
    ///
    /// Such components may not run twice, not even for a time. `Reschedule` also needs a Divided component.
    fn check_reschedule(&mut self) {
        let bound = |plan: &ComponentPlan| {
            let pods = kinds::pod_template_path(&plan.api_version, &plan.kind, &plan.template)?;
            let volumes = kinds::at(&plan.template, pods)?.pointer("/spec/volumes")?.as_array()?;
            volumes
                .iter()
                .any(|volume| volume.get("persistentVolumeClaim").is_some())
                .then_some("mounts a volume claim")
        };
        let why =
            |plan: &ComponentPlan| (plan.kind == "StatefulSet").then_some("is a StatefulSet").or_else(|| bound(plan));
        let found: Vec<String> = self
            .known()
            .filter_map(|(_, plan)| Some(format!("component {} {}", plan.name, why(plan)?)))
            .chain(self.divided().is_none().then(|| "no component is Divided".to_owned()).filter(|_| self.complete()))
            .collect();
        for reason in found {
            self.say(
                "spec.failover.mode".to_owned(),
                format!("Reschedule would run it in two places at once, and {reason}; set mode: Hold"),
            );
        }
    }

    fn finish(self, components: &[Component], rules: &[OverrideRule]) -> Result<Blueprint, Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let components_planned: Vec<ComponentPlan> = self.plans.into_iter().flatten().collect();
        let divided = components_planned.iter().position(|plan| plan.scope == Scope::Divided);
        let kinds = components_planned.iter().map(|plan| kinds::full_kind(&plan.api_version, &plan.kind)).collect();
        let accounts = foreign_accounts(&components_planned);
        let revision = revision(components, rules, divided);
        Ok(Blueprint { components: components_planned, divided, kinds, accounts, revision })
    }
}

fn autoscaled(workload: &ComponentPlan) -> String {
    format!(
        "{} {} is Divided: placement sets its replicas and an autoscaler would fight it; remove the autoscaler, or set scope: PerCell on component {}",
        workload.kind, workload.object_name, workload.name
    )
}

/// Returns the hash of a revision's content. The number of replicas is not part of the hash.
fn revision(components: &[Component], rules: &[OverrideRule], divided: Option<usize>) -> ContentHash {
    let mut body = json!({ "components": components, "overrides": rules });
    if let Some(spec) =
        divided.and_then(|index| body["components"][index]["template"].get_mut("spec")).and_then(Value::as_object_mut)
    {
        spec.shift_remove("replicas");
    }
    canonical_hash(&body)
}
