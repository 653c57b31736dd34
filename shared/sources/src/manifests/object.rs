//! An object of a manifest as it is written: its fields with their lines, for tools that report about files.

use super::node::{DocumentNode, Value};

/// An object of a manifest file, of any kind, also of those that are not read.
#[derive(Clone, Copy, Debug)]
pub struct ManifestObject<'d>(pub(super) &'d DocumentNode);

impl<'d> ManifestObject<'d> {
    /// `kind`; empty if it is missing.
    pub fn kind(&self) -> &'d str {
        self.0.text("kind").unwrap_or_default()
    }

    /// `metadata.name`; empty if it is missing.
    pub fn name(&self) -> &'d str {
        self.text("metadata.name").unwrap_or_default()
    }

    /// `metadata.namespace`, or `default`.
    pub fn namespace(&self) -> &'d str {
        self.text("metadata.namespace").filter(|name| !name.is_empty()).unwrap_or("default")
    }

    /// The line on which the object begins, counted from 1.
    pub fn line(&self) -> u32 {
        self.0.line.max(1)
    }

    /// The line of a path such as `spec.rules[0].host`, or of the longest part of it that exists. Names may contain dots.
    pub fn line_of(&self, path: &str) -> u32 {
        self.0.line_of(path).max(1)
    }

    /// The text at a path.
    pub fn text(&self, path: &str) -> Option<&'d str> {
        match &self.0.at(path)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The texts of a list, each with its line. Numbers and booleans are left out.
    pub fn texts(&self, path: &str) -> Vec<(&'d str, u32)> {
        let Some(Value::List(items)) = self.0.at(path).map(|node| &node.value) else { return Vec::new() };
        let text = |item: &'d DocumentNode| match &item.value {
            Value::Text(text) => Some((text.as_str(), item.line.max(1))),
            _ => None,
        };
        items.iter().filter_map(text).collect()
    }

    /// The number of items of a list; 0 if it is none.
    pub fn count(&self, path: &str) -> usize {
        match self.0.at(path).map(|node| &node.value) {
            Some(Value::List(items)) => items.len(),
            _ => 0,
        }
    }

    /// The names of a map with the lines of their values, in the order of the file.
    pub fn fields(&self, path: &str) -> Vec<(&'d str, u32)> {
        match self.0.at(path).map(|node| &node.value) {
            Some(Value::Map(fields)) => {
                fields.iter().map(|(name, node)| (name.as_str(), node.line.max(1))).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::manifests::decode_objects;

    #[test]
    fn fields_have_their_lines_also_in_lists_and_of_kinds_that_are_not_read() {
        let text = "kind: List\napiVersion: v1\nitems:\n- apiVersion: apps/v1\n  kind: Deployment\n  metadata:\n    name: controller\n  spec:\n    \
                    template: {spec: {containers: [{args: [a,\n      b]}]}}\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n  \
                    namespace: shop\n  annotations:\n    example.com/a.b: x\n";
        let mut seen = Vec::new();
        decode_objects("f.yaml", text, |object| {
            seen.push(format!(
                "{} {}/{} line {}",
                object.kind(),
                object.namespace(),
                object.name(),
                object.line()
            ));
            let args = "spec.template.spec.containers[0].args";
            seen.extend(object.texts(args).iter().map(|(text, line)| format!("{text} {line}")));
            seen.extend(
                object.fields("metadata.annotations").iter().map(|(name, line)| format!("{name} {line}")),
            );
        });
        assert_eq!(
            seen,
            [
                "Deployment default/controller line 4",
                "a 9",
                "b 10",
                "Ingress shop/web line 12",
                "example.com/a.b 18"
            ]
        );
    }
}
