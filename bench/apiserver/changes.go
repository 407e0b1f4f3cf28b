package main

import (
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

type schemaOf = apiextensionsv1.JSONSchemaProps

// change is something about the definition that could be otherwise.
type change struct {
	name  string
	apply func(root *schemaOf)
}

func changes() []change {
	return []change{
		{"as it is", func(*schemaOf) {}},
		{"status: one owner (atomic)", func(root *schemaOf) { at(root, "status", makeAtomic) }},
		{"status: one owner, no keys of lists", func(root *schemaOf) {
			at(root, "status", func(status *schemaOf) {
				walk(status, func(s *schemaOf) { s.XListType, s.XListMapKeys = nil, nil })
				makeAtomic(status)
			})
		}},
		{"status: one owner, only types are left", func(root *schemaOf) {
			at(root, "status", func(status *schemaOf) {
				walk(status, func(s *schemaOf) {
					s.XListType, s.XListMapKeys, s.Format, s.Required, s.Enum = nil, nil, "", nil, nil
					s.Pattern, s.MinLength, s.MaxLength, s.Minimum, s.Maximum = "", nil, nil, nil, nil
				})
				makeAtomic(status)
			})
		}},
		{"status and spec.template: one owner each", func(root *schemaOf) {
			at(root, "status", makeAtomic)
			at(root, "spec.template", makeAtomic)
		}},
		{"history: its entries have one owner each (atomic)", func(root *schemaOf) {
			at(root, "status.history[]", makeAtomic)
		}},
		{"spec.template: one owner (atomic)", func(root *schemaOf) { at(root, "spec.template", makeAtomic) }},
		{"spec: one owner (atomic)", func(root *schemaOf) { at(root, "spec", makeAtomic) }},
		{"status: no formats", inStatus(func(s *schemaOf) { s.Format = "" })},
		{"status: no lengths and patterns", inStatus(func(s *schemaOf) {
			s.Pattern, s.MinLength, s.MaxLength, s.Minimum, s.Maximum, s.MinItems, s.MaxItems = "", nil, nil, nil, nil, nil, nil
		})},
		{"status: no enums", inStatus(func(s *schemaOf) { s.Enum = nil })},
		{"status: nothing required", inStatus(func(s *schemaOf) { s.Required = nil })},
		{"status: no keys of lists", inStatus(func(s *schemaOf) { s.XListType, s.XListMapKeys = nil, nil })},
		{"history: entries without declared fields", func(root *schemaOf) { at(root, "status.history[]", makeOpen) }},
		{"status: without declared fields", func(root *schemaOf) { at(root, "status", makeOpen) }},
		{"spec: no rules on numbers alone", func(root *schemaOf) {
			at(root, "spec", func(spec *schemaOf) {
				walk(spec, func(s *schemaOf) {
					if s.Type == "integer" {
						s.XValidations = nil
					}
				})
			})
		}},
		{"spec: no rules in templates", func(root *schemaOf) {
			for _, path := range []string{"spec.template", "spec.onFailure.template"} {
				at(root, path, func(template *schemaOf) { walk(template, func(s *schemaOf) { s.XValidations = nil }) })
			}
		}},
		{"no rules", func(root *schemaOf) { walk(root, func(s *schemaOf) { s.XValidations = nil }) }},
	}
}

func inStatus(apply func(*schemaOf)) func(*schemaOf) {
	return func(root *schemaOf) { at(root, "status", func(status *schemaOf) { walk(status, apply) }) }
}

func makeAtomic(s *schemaOf) {
	atomic := "atomic"
	s.XMapType = &atomic
}

func makeOpen(s *schemaOf) {
	open := true
	s.Properties, s.Required, s.XPreserveUnknownFields = nil, nil, &open
}

// at applies a change to the schema at a path such as status.history[].
func at(root *schemaOf, path string, apply func(*schemaOf)) {
	name, rest, deeper := strings.Cut(path, ".")
	property, items := strings.CutSuffix(name, "[]")
	inner, found := root.Properties[property]
	if !found {
		return
	}
	target := &inner
	if items {
		target = inner.Items.Schema
	}
	if deeper {
		at(target, rest, apply)
	} else {
		apply(target)
	}
	root.Properties[property] = inner
}

// walk applies a change to the schema and to all that are in it.
func walk(s *schemaOf, apply func(*schemaOf)) {
	apply(s)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		inner := s.Properties[name]
		walk(&inner, apply)
		s.Properties[name] = inner
	}
	if s.Items != nil && s.Items.Schema != nil {
		walk(s.Items.Schema, apply)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		walk(s.AdditionalProperties.Schema, apply)
	}
}
