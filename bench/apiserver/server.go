package main

import (
	"context"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder"
	generated "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/kube-openapi/pkg/builder3"
	openapicommon "k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

const objectMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

// server is what the API server makes of a definition: its customresource_handler.go does the same.
type server struct {
	kind       schema.GroupVersionKind
	structural *structuralschema.Structural
	status     validation.SchemaValidator
	rules      *cel.Validator
	fields     *managedfields.FieldManager
}

func newServer(definition *apiextensionsv1.CustomResourceDefinition) (*server, error) {
	version := definition.Spec.Versions[0]
	internal := &apiextensions.CustomResourceValidation{}
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(
		version.Schema, internal, nil,
	); err != nil {
		return nil, err
	}
	s := &server{kind: schema.GroupVersionKind{
		Group: definition.Spec.Group, Version: version.Name, Kind: definition.Spec.Names.Kind,
	}}
	var err error
	if s.structural, err = structuralschema.NewStructural(internal.OpenAPIV3Schema); err != nil {
		return nil, err
	}
	if err = defaulting.PruneDefaults(s.structural); err != nil {
		return nil, err
	}
	ofStatus := internal.OpenAPIV3Schema.Properties["status"]
	if s.status, _, err = validation.NewSchemaValidator(&ofStatus); err != nil {
		return nil, err
	}
	s.rules = cel.NewValidator(s.structural, true, celconfig.PerCallLimit)
	s.fields, err = newFieldManager(definition, s.kind)
	return s, err
}

func newFieldManager(
	definition *apiextensionsv1.CustomResourceDefinition, kind schema.GroupVersionKind,
) (*managedfields.FieldManager, error) {
	namer := openapi.NewDefinitionNamer(runtime.NewScheme())
	static, err := builder3.BuildOpenAPIDefinitionsForResources(&openapicommon.OpenAPIV3Config{
		Info:              &spec.Info{},
		GetDefinitions:    generated.GetOpenAPIDefinitions,
		GetDefinitionName: namer.GetDefinitionName,
	}, objectMeta)
	if err != nil {
		return nil, err
	}
	ofDefinition, err := builder.BuildOpenAPIV3(definition, kind.Version, builder.Options{})
	if err != nil {
		return nil, err
	}
	models, err := builder.MergeSpecsV3(&spec3.OpenAPI{
		Version: "3.0.0", Info: &spec.Info{}, Components: &spec3.Components{Schemas: static},
	}, ofDefinition)
	if err != nil {
		return nil, err
	}
	types, err := managedfields.NewTypeConverter(models.Components.Schemas, false)
	if err != nil {
		return nil, err
	}
	reset := map[fieldpath.APIVersion]*fieldpath.Set{
		fieldpath.APIVersion(kind.GroupVersion().String()): fieldpath.NewSet(
			fieldpath.MakePathOrDie("metadata"), fieldpath.MakePathOrDie("spec"),
		),
	}
	return managedfields.NewDefaultCRDFieldManager(
		types, oneVersion{}, oneVersion{}, oneVersion{kind}, kind, kind.GroupVersion(), "status",
		fieldpath.NewExcludeFilterSetMap(reset),
	)
}

// oneVersion stands for the conversion of a definition with one version: there is nothing to convert.
type oneVersion struct{ kind schema.GroupVersionKind }

func (oneVersion) Convert(_, _, _ any) error { return fmt.Errorf("nothing to convert") }
func (oneVersion) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}
func (oneVersion) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}
func (oneVersion) Default(runtime.Object) {}
func (o oneVersion) New(schema.GroupVersionKind) (runtime.Object, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(o.kind)
	return object, nil
}

// decode is done with what a client sends, with what is read from etcd, and with both versions of a watch event.
func (s *server) decode(text []byte) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		return nil, err
	}
	meta, _, _, err := objectmeta.GetObjectMetaWithOptions(object.Object, objectmeta.ObjectMetaOptions{})
	if err != nil {
		return nil, err
	}
	pruning.PruneWithOptions(object.Object, s.structural, true, structuralschema.UnknownFieldPathOptions{})
	defaulting.PruneNonNullableNullsWithoutDefaults(object.Object, s.structural)
	if err, _ := objectmeta.CoerceWithOptions(
		nil, object.Object, s.structural, false, objectmeta.CoerceOptions{},
	); err != nil {
		return nil, err
	}
	object.SetGroupVersionKind(s.kind)
	if err := objectmeta.SetObjectMeta(object.Object, meta); err != nil {
		return nil, err
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object.Object, s.structural)
	defaulting.Default(object.Object, s.structural)
	return object, nil
}

func (s *server) manageFields(updated, stored *unstructured.Unstructured) {
	s.fields.UpdateNoErrors(stored, updated, "retryable-tasks")
}

// validateSchema, validateLists and validateRules are ValidateUpdate of the API server's status_strategy.go.
func (s *server) validateSchema(updated, stored *unstructured.Unstructured) error {
	both := common.NewCorrelatedObject(updated.Object, stored.Object, &model.Structural{Structural: s.structural})
	return validation.ValidateCustomResourceUpdate(
		field.NewPath("status"), updated.Object["status"], stored.Object["status"], s.status,
		validation.WithRatcheting(both.Key("status")),
	).ToAggregate()
}

func (s *server) validateLists(updated *unstructured.Unstructured) error {
	return listtype.ValidateListSetsAndMaps(nil, s.structural, updated.Object).ToAggregate()
}

func (s *server) validateRules(updated, stored *unstructured.Unstructured) error {
	both := common.NewCorrelatedObject(updated.Object, stored.Object, &model.Structural{Structural: s.structural})
	faults, _ := s.rules.Validate(
		context.Background(), nil, s.structural, updated.Object, stored.Object, celconfig.RuntimeCELCostBudget,
		cel.WithRatcheting(both),
	)
	return faults.ToAggregate()
}
