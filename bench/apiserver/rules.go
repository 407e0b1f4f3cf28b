package main

import (
	"fmt"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// eachRule prints what each CEL rule takes by itself.
func eachRule(read func() (*apiextensionsv1.CustomResourceDefinition, error), task []byte, rounds int) error {
	definition, err := read()
	if err != nil {
		return err
	}
	count := 0
	walk(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, func(s *schemaOf) { count += len(s.XValidations) })
	fmt.Println("| µs | rule |")
	fmt.Println("|---|---|")
	for wanted := range count {
		definition, err := read()
		if err != nil {
			return err
		}
		seen, kept := 0, ""
		walk(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, func(s *schemaOf) {
			rules := s.XValidations
			s.XValidations = nil
			for _, rule := range rules {
				if seen == wanted {
					s.XValidations = apiextensionsv1.ValidationRules{rule}
					kept = rule.Message + " `" + rule.Rule + "`"
				}
				seen++
			}
		})
		s, err := newServer(definition)
		if err != nil {
			return err
		}
		updated, err := s.taskWith(task, 1)
		if err != nil {
			return err
		}
		took, err := least(rounds, func() error { return s.validateRules(updated, updated) })
		if err != nil {
			return err
		}
		fmt.Printf("| %.0f | %s |\n", took*1000, strings.ReplaceAll(kept, "|", "\\|"))
	}
	return nil
}
