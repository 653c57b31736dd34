//! The plan: what was found, the steps with their reverses, and notes; as text and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::objects::ObjectId;

/// The action of a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StepAction {
    /// Sends each lookup or request to the existing Service and records the answers.
    RecordAnswers,
    /// Creates a workload.
    Create(Value),
    /// Waits until a workload has this number of ready Pods, all of its current template.
    WaitReady(ObjectId),
    /// Sends the same to each Pod of the copy and compares the answers with the recorded ones.
    CompareAnswers,
    /// Changes an object and waits for nothing.
    Patch(ObjectId, Value),
    /// Starts to repeat them through the existing Service, beside the steps that follow.
    StartWatch,
    /// Continues that for the time of `--watch`.
    KeepWatching,
    /// Deletes an object that this plan created.
    Delete(ObjectId),
}

impl StepAction {
    /// The word in the JSON form.
    fn name(&self) -> &'static str {
        match self {
            Self::RecordAnswers => "record",
            Self::Create(_) => "create",
            Self::WaitReady(_) => "wait",
            Self::CompareAnswers => "compare",
            Self::Patch(..) => "patch",
            Self::StartWatch => "start-watch",
            Self::KeepWatching => "keep-watching",
            Self::Delete(_) => "delete",
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Create(object) => json!({ "object": object }),
            Self::Patch(id, patch) => json!({ "object": id.to_string(), "patch": patch }),
            Self::WaitReady(id) | Self::Delete(id) => json!({ "object": id.to_string() }),
            Self::RecordAnswers | Self::CompareAnswers | Self::StartWatch | Self::KeepWatching => json!({}),
        }
    }
}

/// A step of the plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlanStep {
    /// The action as a sentence without a full stop.
    pub what: String,
    /// How the step is undone; empty if it changes nothing.
    pub reverse: String,
    /// The action.
    pub action: StepAction,
}

impl PlanStep {
    /// A step that changes nothing.
    pub(crate) fn check(what: impl Into<String>, action: StepAction) -> Self {
        Self { what: what.into(), reverse: String::new(), action }
    }

    /// A step that changes something.
    pub(crate) fn change(what: impl Into<String>, reverse: impl Into<String>, action: StepAction) -> Self {
        Self { what: what.into(), reverse: reverse.into(), action }
    }
}

/// A plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MigrationPlan {
    /// The facts found in the cluster: name and value.
    pub found: Vec<(&'static str, String)>,
    /// Reasons not to carry the plan out. Without a reason there are steps.
    pub refusals: Vec<String>,
    /// The steps in their order.
    pub steps: Vec<PlanStep>,
    /// Advice, and what remains to be done.
    pub notes: Vec<String>,
}

impl MigrationPlan {
    /// The plan as text.
    pub(crate) fn text(&self) -> String {
        let mut text = "Found:\n".to_owned();
        let width = self.found.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in &self.found {
            let _ = writeln!(text, "  {name:width$}  {}", indented(value, width + 4));
        }
        if !self.refusals.is_empty() {
            text += "\nRefused:\n";
            self.refusals.iter().for_each(|reason| _ = writeln!(text, "  - {}", indented(reason, 4)));
        }
        if !self.steps.is_empty() {
            text += "\nPlan:\n";
        }
        for (index, step) in self.steps.iter().enumerate() {
            let _ = writeln!(text, "  {}. {}", index + 1, indented(&step.what, 5));
            if !step.reverse.is_empty() {
                let _ = writeln!(text, "     undo: {}", indented(&step.reverse, 11));
            }
        }
        if !self.notes.is_empty() {
            text += "\nNotes:\n";
            self.notes.iter().for_each(|note| _ = writeln!(text, "  - {}", indented(note, 4)));
        }
        text
    }

    /// The plan as JSON.
    pub(crate) fn json(&self) -> Value {
        let found: serde_json::Map<_, _> =
            self.found.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let steps = self.steps.iter().enumerate().map(|(index, step)| {
            let mut json = json!({ "step": index + 1, "what": step.what, "undo": step.reverse, "action": step.action.name() });
            if let (Some(json), Value::Object(details)) = (json.as_object_mut(), step.action.json()) {
                json.extend(details);
            }
            json
        });
        json!({ "found": found, "refused": self.refusals, "steps": steps.collect::<Vec<_>>(), "notes": self.notes })
    }
}

fn indented(text: &str, by: usize) -> String {
    text.replace('\n', &format!("\n{}", " ".repeat(by)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ResourceKind;

    #[test]
    fn steps_are_numbered_and_a_change_has_its_reverse() {
        let service = ObjectId {
            resource: ResourceKind::Service,
            namespace: "kube-system".into(),
            name: "kube-dns".into(),
        };
        let plan = MigrationPlan {
            found: vec![("distribution", "kubeadm".into()), ("Service", "kube-system/kube-dns".into())],
            refusals: vec![],
            steps: vec![
                PlanStep::check("Look up 3 names through 10.96.0.10:53", StepAction::RecordAnswers),
                PlanStep::change(
                    "Change the selector",
                    "the old selector",
                    StepAction::Patch(service, json!({ "spec": {} })),
                ),
            ],
            notes: vec!["first line\nsecond line".into()],
        };
        assert_eq!(
            plan.text(),
            "Found:\n  distribution  kubeadm\n  Service       kube-system/kube-dns\n\nPlan:\n  1. Look up 3 names through 10.96.0.10:53\n  \
             2. Change the selector\n     undo: the old selector\n\nNotes:\n  - first line\n    second line\n"
        );
        let json = plan.json();
        assert_eq!(json["steps"][1]["action"], "patch");
        assert_eq!(json["steps"][1]["object"], "Service kube-system/kube-dns");
        assert_eq!(json["steps"][0]["undo"], "");
    }
}
