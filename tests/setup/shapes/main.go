// Writes `src/engine/kubernetes/shapes.txt`: the fields of every object that Kubernetes brings along, taken
// from the `json` tags of its Go types. Only needed for a new version of Kubernetes:
//
//	cp -r tests/setup/shapes /tmp/shapes && cd /tmp/shapes && go mod init shapes
//	go get k8s.io/{api,apimachinery,apiextensions-apiserver,kube-aggregator}@v0.37.2
//	go run . >…/src/engine/kubernetes/shapes.txt
package main

import (
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	adm1 "k8s.io/api/admissionregistration/v1"
	apps1 "k8s.io/api/apps/v1"
	authn1 "k8s.io/api/authentication/v1"
	authz1 "k8s.io/api/authorization/v1"
	as1 "k8s.io/api/autoscaling/v1"
	as2 "k8s.io/api/autoscaling/v2"
	batch1 "k8s.io/api/batch/v1"
	cert1 "k8s.io/api/certificates/v1"
	certb1 "k8s.io/api/certificates/v1beta1"
	coord1 "k8s.io/api/coordination/v1"
	coordb1 "k8s.io/api/coordination/v1beta1"
	core1 "k8s.io/api/core/v1"
	disc1 "k8s.io/api/discovery/v1"
	ev1 "k8s.io/api/events/v1"
	flow1 "k8s.io/api/flowcontrol/v1"
	net1 "k8s.io/api/networking/v1"
	node1 "k8s.io/api/node/v1"
	policy1 "k8s.io/api/policy/v1"
	rbac1 "k8s.io/api/rbac/v1"
	res1 "k8s.io/api/resource/v1"
	resb1 "k8s.io/api/resource/v1beta1"
	sched1 "k8s.io/api/scheduling/v1"
	stor1 "k8s.io/api/storage/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	meta1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	agg1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// The body of requests for a resource, `<plural>[.<group>][/<subresource>]`; none for bodies that any
// resource may have.
type root struct {
	resource string
	body     any
}

var bodies = map[string]string{}

var shapes = map[string]map[string]string{} // name -> field -> type
var owner = map[string]string{}             // name -> group

func group(t reflect.Type) string {
	p := strings.Split(t.PkgPath(), "/")
	return p[len(p)-2]
}

func name(t reflect.Type) string {
	n, g := t.Name(), group(t)
	if o, ok := owner[n]; ok && o != g {
		n = n + "." + g
	}
	owner[n] = g
	if _, ok := owner[t.Name()]; !ok {
		owner[t.Name()] = g
	}
	return n
}

func of(t reflect.Type) string {
	switch t.String() {
	case "v1.Time", "v1.MicroTime":
		return "time"
	case "resource.Quantity", "intstr.IntOrString":
		return "any"
	case "v1.Duration":
		return "text"
	case "runtime.RawExtension", "v1.FieldsV1", "v1.JSON", "runtime.Unknown":
		return "tree"
	}
	switch t.Name() {
	case "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool":
		return shapeOf(reflect.TypeOf(apiext.JSONSchemaProps{}))
	case "JSONSchemaPropsOrStringArray":
		return shapeOf(reflect.TypeOf(apiext.JSONSchemaProps{}))
	}
	switch t.Kind() {
	case reflect.Pointer:
		return of(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "text"
		}
		return "[]" + of(t.Elem())
	case reflect.Map:
		return "{}" + of(t.Elem())
	case reflect.Struct:
		return shapeOf(t)
	case reflect.Interface:
		return "tree"
	}
	panic(t.String())
}

var seen = map[reflect.Type]string{}

func shapeOf(t reflect.Type) string {
	if n, ok := seen[t]; ok {
		return n
	}
	n := name(t)
	seen[t] = n
	if shapes[n] == nil {
		shapes[n] = map[string]string{}
	}
	fields(t, shapes[n])
	return n
}

func fields(t reflect.Type, into map[string]string) {
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		n := strings.Split(tag, ",")[0]
		if n == "-" {
			continue
		}
		if n == "" {
			if f.Anonymous || strings.Contains(tag, "inline") {
				e := f.Type
				if e.Kind() == reflect.Pointer {
					e = e.Elem()
				}
				fields(e, into)
				continue
			}
			continue
		}
		ty := of(f.Type)
		if old, ok := into[n]; ok && old != ty {
			fmt.Fprintln(os.Stderr, "conflict", t, n, old, ty)
			ty = "any"
		}
		into[n] = ty
	}
}

func main() {
	for _, r := range []root{
		{"bindings", core1.Binding{}},
		{"componentstatuses", core1.ComponentStatus{}},
		{"configmaps", core1.ConfigMap{}},
		{"endpoints", core1.Endpoints{}},
		{"events", core1.Event{}},
		{"limitranges", core1.LimitRange{}},
		{"namespaces", core1.Namespace{}},
		{"nodes", core1.Node{}},
		{"nodes/proxy", core1.NodeProxyOptions{}},
		{"persistentvolumeclaims", core1.PersistentVolumeClaim{}},
		{"persistentvolumes", core1.PersistentVolume{}},
		{"pods", core1.Pod{}},
		{"pods/attach", core1.PodAttachOptions{}},
		{"pods/binding", core1.Binding{}},
		{"pods/eviction", policy1.Eviction{}},
		{"pods/exec", core1.PodExecOptions{}},
		{"pods/log", core1.PodLogOptions{}},
		{"pods/portforward", core1.PodPortForwardOptions{}},
		{"pods/proxy", core1.PodProxyOptions{}},
		{"podtemplates", core1.PodTemplate{}},
		{"replicationcontrollers", core1.ReplicationController{}},
		{"replicationcontrollers/scale", as1.Scale{}},
		{"resourcequotas", core1.ResourceQuota{}},
		{"secrets", core1.Secret{}},
		{"serviceaccounts", core1.ServiceAccount{}},
		{"serviceaccounts/token", authn1.TokenRequest{}},
		{"services", core1.Service{}},
		{"services/proxy", core1.ServiceProxyOptions{}},
		{"mutatingadmissionpolicies.admissionregistration.k8s.io", adm1.MutatingAdmissionPolicy{}},
		{"mutatingadmissionpolicybindings.admissionregistration.k8s.io", adm1.MutatingAdmissionPolicyBinding{}},
		{"mutatingwebhookconfigurations.admissionregistration.k8s.io", adm1.MutatingWebhookConfiguration{}},
		{"validatingadmissionpolicies.admissionregistration.k8s.io", adm1.ValidatingAdmissionPolicy{}},
		{"validatingadmissionpolicybindings.admissionregistration.k8s.io", adm1.ValidatingAdmissionPolicyBinding{}},
		{"validatingwebhookconfigurations.admissionregistration.k8s.io", adm1.ValidatingWebhookConfiguration{}},
		{"customresourcedefinitions.apiextensions.k8s.io", apiext.CustomResourceDefinition{}},
		{"apiservices.apiregistration.k8s.io", agg1.APIService{}},
		{"controllerrevisions.apps", apps1.ControllerRevision{}},
		{"daemonsets.apps", apps1.DaemonSet{}},
		{"deployments.apps", apps1.Deployment{}},
		{"deployments.apps/scale", as1.Scale{}},
		{"replicasets.apps", apps1.ReplicaSet{}},
		{"replicasets.apps/scale", as1.Scale{}},
		{"statefulsets.apps", apps1.StatefulSet{}},
		{"statefulsets.apps/scale", as1.Scale{}},
		{"selfsubjectreviews.authentication.k8s.io", authn1.SelfSubjectReview{}},
		{"tokenreviews.authentication.k8s.io", authn1.TokenReview{}},
		{"localsubjectaccessreviews.authorization.k8s.io", authz1.LocalSubjectAccessReview{}},
		{"selfsubjectaccessreviews.authorization.k8s.io", authz1.SelfSubjectAccessReview{}},
		{"selfsubjectrulesreviews.authorization.k8s.io", authz1.SelfSubjectRulesReview{}},
		{"subjectaccessreviews.authorization.k8s.io", authz1.SubjectAccessReview{}},
		{"horizontalpodautoscalers.autoscaling", as2.HorizontalPodAutoscaler{}},
		{"horizontalpodautoscalers.autoscaling", as1.HorizontalPodAutoscaler{}},
		{"cronjobs.batch", batch1.CronJob{}},
		{"jobs.batch", batch1.Job{}},
		{"certificatesigningrequests.certificates.k8s.io", cert1.CertificateSigningRequest{}},
		{"clustertrustbundles.certificates.k8s.io", certb1.ClusterTrustBundle{}},
		{"podcertificaterequests.certificates.k8s.io", certb1.PodCertificateRequest{}},
		{"leasecandidates.coordination.k8s.io", coordb1.LeaseCandidate{}},
		{"leases.coordination.k8s.io", coord1.Lease{}},
		{"endpointslices.discovery.k8s.io", disc1.EndpointSlice{}},
		{"events.events.k8s.io", ev1.Event{}},
		{"flowschemas.flowcontrol.apiserver.k8s.io", flow1.FlowSchema{}},
		{"prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", flow1.PriorityLevelConfiguration{}},
		{"ingressclasses.networking.k8s.io", net1.IngressClass{}},
		{"ingresses.networking.k8s.io", net1.Ingress{}},
		{"ipaddresses.networking.k8s.io", net1.IPAddress{}},
		{"networkpolicies.networking.k8s.io", net1.NetworkPolicy{}},
		{"servicecidrs.networking.k8s.io", net1.ServiceCIDR{}},
		{"runtimeclasses.node.k8s.io", node1.RuntimeClass{}},
		{"poddisruptionbudgets.policy", policy1.PodDisruptionBudget{}},
		{"clusterrolebindings.rbac.authorization.k8s.io", rbac1.ClusterRoleBinding{}},
		{"clusterroles.rbac.authorization.k8s.io", rbac1.ClusterRole{}},
		{"rolebindings.rbac.authorization.k8s.io", rbac1.RoleBinding{}},
		{"roles.rbac.authorization.k8s.io", rbac1.Role{}},
		{"deviceclasses.resource.k8s.io", res1.DeviceClass{}},
		{"deviceclasses.resource.k8s.io", resb1.DeviceClass{}},
		{"resourceclaims.resource.k8s.io", res1.ResourceClaim{}},
		{"resourceclaims.resource.k8s.io", resb1.ResourceClaim{}},
		{"resourceclaimtemplates.resource.k8s.io", res1.ResourceClaimTemplate{}},
		{"resourceclaimtemplates.resource.k8s.io", resb1.ResourceClaimTemplate{}},
		{"resourceslices.resource.k8s.io", res1.ResourceSlice{}},
		{"resourceslices.resource.k8s.io", resb1.ResourceSlice{}},
		{"priorityclasses.scheduling.k8s.io", sched1.PriorityClass{}},
		{"csidrivers.storage.k8s.io", stor1.CSIDriver{}},
		{"csinodes.storage.k8s.io", stor1.CSINode{}},
		{"csistoragecapacities.storage.k8s.io", stor1.CSIStorageCapacity{}},
		{"storageclasses.storage.k8s.io", stor1.StorageClass{}},
		{"volumeattachments.storage.k8s.io", stor1.VolumeAttachment{}},
		{"volumeattributesclasses.storage.k8s.io", stor1.VolumeAttributesClass{}},
		{"", meta1.DeleteOptions{}},
		{"", meta1.Status{}},
		{"", meta1.Table{}},
	} {
		shape := shapeOf(reflect.TypeOf(r.body))
		if r.resource != "" {
			bodies[r.resource] = shape
		}
	}
	fmt.Println("# Shapes of the bodies that Kubernetes 1.37.2 knows: see `shapes.rs`. Do not edit: made by")
	fmt.Println("# tests/setup/shapes/main.go from the Go types of its API.")
	for _, resource := range sorted(bodies) {
		fmt.Println("/" + resource + " " + bodies[resource])
	}
	for _, shape := range sorted(shapes) {
		fields := []string{}
		for _, field := range sorted(shapes[shape]) {
			fields = append(fields, field+":"+shapes[shape][field])
		}
		fmt.Println(shape + " " + strings.Join(fields, " "))
	}
}

func sorted[V any](of map[string]V) []string {
	keys := []string{}
	for key := range of {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
