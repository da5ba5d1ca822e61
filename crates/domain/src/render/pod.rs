//! Computes the resource requests of a pod as the member's scheduler does.

use crds::cluster::v1alpha1::Amounts;
use serde_json::Value;

use super::quantity;

/// An amount of CPU in thousandths of a core and of memory in bytes.
#[derive(Clone, Copy, Default)]
struct Sum {
    cpu: i64,
    memory: i64,
}

impl Sum {
    fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_add(other.cpu), memory: self.memory.saturating_add(other.memory) }
    }

    fn max(self, other: Self) -> Self {
        Self { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }
}

/// Returns the requests of one pod, rounded up.
///
/// The result is the larger of two amounts, plus overhead:
/// - The sum over containers and native sidecars.
/// - The largest init container, each together with the sidecars started before it.
///
/// A limit without a request counts as the request. Requests of the pod as a whole replace the computed ones.
pub fn pod_amounts(pod_spec: &Value) -> Amounts {
    let mut sidecars = Sum::default();
    let mut starting = Sum::default();
    for container in items(pod_spec, "initContainers") {
        let asks = requests(&container["resources"]);
        if container["restartPolicy"] == "Always" {
            sidecars = sidecars.plus(asks);
            starting = starting.max(sidecars);
        } else {
            starting = starting.max(sidecars.plus(asks));
        }
    }
    let running =
        items(pod_spec, "containers").map(|container| requests(&container["resources"])).fold(sidecars, Sum::plus);
    let mut total = running.max(starting);
    let whole = &pod_spec["resources"];
    if let Some(cpu) = request(whole, "cpu") {
        total.cpu = milli(cpu);
    }
    if let Some(memory) = request(whole, "memory") {
        total.memory = bytes(memory);
    }
    let overhead = &pod_spec["overhead"];
    total =
        total.plus(Sum { cpu: overhead.get("cpu").map_or(0, milli), memory: overhead.get("memory").map_or(0, bytes) });
    Amounts {
        cpu_milli: total.cpu.min(Amounts::CPU_MILLI_MAX),
        memory_mi: mebi(total.memory).min(Amounts::MEMORY_MI_MAX),
        pods: 1,
    }
}

fn mebi(bytes: i64) -> i64 {
    bytes.saturating_add((1 << 20) - 1) >> 20
}

/// An amount as stated in a pod spec.
#[derive(Debug)]
pub(super) struct StatedAmount {
    /// Path within the pod spec.
    pub(super) path: String,
    /// `cpu` or `memory`.
    pub(super) resource: &'static str,
    /// Amount as written.
    pub(super) text: String,
    /// Amount in thousandths of a core, or in MiB.
    pub(super) amount: i64,
}

/// Returns every amount of CPU and memory in a pod spec.
pub(super) fn stated_amounts(pod_spec: &Value) -> Vec<StatedAmount> {
    let mut found = Vec::new();
    let mut read = |path: String, list: &Value| {
        for resource in ["cpu", "memory"] {
            let Some(value) = list.get(resource).filter(|value| !value.is_null()) else { continue };
            let amount = if resource == "cpu" { milli(value) } else { mebi(bytes(value)) };
            found.push(StatedAmount { path: format!("{path}.{resource}"), resource, text: text(value), amount });
        }
    };
    for list in ["initContainers", "containers"] {
        for (i, container) in items(pod_spec, list).enumerate() {
            for kind in ["requests", "limits"] {
                read(format!("{list}[{i}].resources.{kind}"), &container["resources"][kind]);
            }
        }
    }
    for kind in ["requests", "limits"] {
        read(format!("resources.{kind}"), &pod_spec["resources"][kind]);
    }
    read("overhead".to_owned(), &pod_spec["overhead"]);
    found
}

fn items<'a>(pod_spec: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    pod_spec.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn requests(resources: &Value) -> Sum {
    Sum { cpu: request(resources, "cpu").map_or(0, milli), memory: request(resources, "memory").map_or(0, bytes) }
}

fn request<'a>(resources: &'a Value, name: &str) -> Option<&'a Value> {
    let of = |list: &str| resources.get(list).and_then(|list| list.get(name)).filter(|value| !value.is_null());
    of("requests").or_else(|| of("limits"))
}

fn milli(value: &Value) -> i64 {
    quantity::ceil_milli(&text(value)).unwrap_or(0).max(0)
}

fn bytes(value: &Value) -> i64 {
    quantity::ceil_whole(&text(value)).unwrap_or(0).max(0)
}

/// Returns a quantity as text. A quantity may be written as a string or as a number.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asks(cpu: &str, memory: &str) -> Value {
        json!({ "resources": { "requests": { "cpu": cpu, "memory": memory } } })
    }

    fn sidecar(cpu: &str, memory: &str) -> Value {
        let mut container = asks(cpu, memory);
        container["restartPolicy"] = json!("Always");
        container
    }

    #[test]
    fn requests_are_summed_as_the_members_scheduler_does() {
        for (case, spec, cpu, memory) in [
            ("nothing asked", json!({ "containers": [{ "name": "app" }] }), 0, 0),
            ("containers add up", json!({ "containers": [asks("100m", "64Mi"), asks("0.2", "1Gi")] }), 300, 1088),
            (
                "numbers are quantities",
                json!({ "containers": [{ "resources": { "requests": { "cpu": 2, "memory": 1 } } }] }),
                2000,
                1,
            ),
            (
                "a limit counts as request",
                json!({ "containers": [{ "resources": { "limits": { "cpu": "1", "memory": "1Gi" } } }] }),
                1000,
                1024,
            ),
            (
                "the largest init container",
                json!({ "containers": [asks("100m", "64Mi")], "initContainers": [asks("1", "32Mi"), asks("50m", "32Mi")] }),
                1000,
                64,
            ),
            (
                "sidecars run beside containers",
                json!({ "containers": [asks("100m", "64Mi")], "initContainers": [sidecar("50m", "32Mi")] }),
                150,
                96,
            ),
            (
                "init containers run beside earlier sidecars only",
                json!({ "containers": [asks("100m", "64Mi")], "initContainers": [asks("1", "1Mi"), sidecar("50m", "32Mi"), asks("1", "1Mi")] }),
                1050,
                96,
            ),
            (
                "overhead is added",
                json!({ "containers": [asks("100m", "64Mi")], "overhead": { "cpu": "10m", "memory": "16Mi" } }),
                110,
                80,
            ),
            (
                "the pod as a whole decides",
                json!({ "containers": [asks("100m", "64Mi")], "resources": { "requests": { "cpu": "1" } } }),
                1000,
                64,
            ),
        ] {
            assert_eq!(pod_amounts(&spec), Amounts { cpu_milli: cpu, memory_mi: memory, pods: 1 }, "{case}");
        }
    }
}
