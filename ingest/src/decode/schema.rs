//! Named types inside a writer's schema: a type may be defined once and be referred to by its name.

use apache_avro::Schema;
use apache_avro::schema::Name;

/// The types directly inside a type.
fn parts(schema: &Schema) -> Vec<&Schema> {
    match schema {
        Schema::Record(record) => record.fields.iter().map(|field| &field.schema).collect(),
        Schema::Union(union) => union.variants().iter().collect(),
        Schema::Array(array) => vec![&array.items],
        Schema::Map(map) => vec![&map.types],
        _ => Vec::new(),
    }
}

/// What `name` is defined as, somewhere in `schema`.
pub(super) fn definition<'s>(schema: &'s Schema, name: &Name) -> Option<&'s Schema> {
    match schema {
        Schema::Ref { .. } => None,
        _ if schema.name() == Some(name) => Some(schema),
        _ => parts(schema)
            .into_iter()
            .find_map(|part| definition(part, name)),
    }
}

/// Whether a type contains itself: a message of such a type may nest as deep as it likes, and decoding it
/// takes as much stack.
pub(super) fn is_recursive(schema: &Schema) -> bool {
    fn within<'s>(schema: &'s Schema, around: &mut Vec<&'s Name>) -> bool {
        match schema {
            Schema::Ref { name } => around.contains(&name),
            Schema::Record(record) => {
                around.push(&record.name);
                let found = parts(schema).into_iter().any(|part| within(part, around));
                around.pop();
                found
            }
            _ => parts(schema).into_iter().any(|part| within(part, around)),
        }
    }
    within(schema, &mut Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &str) -> Schema {
        let record = format!(
            r#"{{"type":"record","name":"Tick","namespace":"market","fields":[{fields}]}}"#
        );
        Schema::parse_str(&record).unwrap()
    }

    #[test]
    fn a_type_within_itself_is_told_from_one_that_is_used_twice() {
        let fixed = r#"{"type":"fixed","name":"Units","size":12}"#;
        let twice = parse(&format!(
            r#"{{"name":"price","type":["null",{fixed}]}},{{"name":"size","type":"Units"}}"#
        ));
        assert!(!is_recursive(&twice));
        let Schema::Record(record) = &twice else {
            unreachable!()
        };
        let Schema::Ref { name } = &record.fields[1].schema else {
            unreachable!()
        };
        assert!(matches!(definition(&twice, name), Some(Schema::Fixed(_))));

        for inside in [
            r#"{"name":"next","type":["null","Tick"]}"#,
            r#"{"name":"all","type":{"type":"array","items":"market.Tick"}}"#,
            r#"{"name":"other","type":{"type":"record","name":"Other","fields":[{"name":"back","type":{"type":"map","values":"Tick"}}]}}"#,
        ] {
            assert!(is_recursive(&parse(inside)), "{inside}");
        }
    }
}
