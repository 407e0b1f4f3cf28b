package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// A cluster lives for a day of work; a year keeps a forgotten one usable.
const validity = 365 * 24 * time.Hour

// identity is a certificate's owner: who it is to the API server (user and group) and
// under which names it serves, if it does.
type identity struct {
	file, user, group string
	hosts             []string
	client            bool // has a kubeconfig too
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// writePKI writes a new cluster's keys, certificates and kubeconfigs into a folder, all or nothing.
func writePKI(args []string) error {
	flags := flag.NewFlagSet("pki", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder to create")
	server := flags.String("server", "", "the API server's address, https://HOST:PORT")
	hosts := flags.String("hosts", "", "names and addresses the API server answers to, with commas between")
	node := flags.String("node", "", "the node's name")
	nodeAddress := flags.String("node-address", "", "the node's IP address")
	if err := flags.Parse(args); err != nil {
		return err
	}
	identities := []identity{
		{file: "apiserver", user: "kube-apiserver", hosts: strings.Split(*hosts, ",")},
		{file: "kubelet-client", user: "apiserver-kubelet", group: "system:masters"},
		{file: "admin", user: "admin", group: "system:masters", client: true},
		{file: "controller-manager", user: "system:kube-controller-manager", hosts: []string{"127.0.0.1"}, client: true},
		{file: "scheduler", user: "system:kube-scheduler", hosts: []string{"127.0.0.1"}, client: true},
		{file: "node", user: "system:node:" + *node, group: "system:nodes", hosts: []string{*node, *nodeAddress}, client: true},
	}
	unfinished := *dir + ".unfinished"
	if err := errors.Join(os.RemoveAll(unfinished), os.MkdirAll(unfinished, 0o700)); err != nil {
		return err
	}
	ca, err := newAuthority(unfinished)
	if err != nil {
		return err
	}
	for _, owner := range identities {
		if err := ca.issue(unfinished, *dir, *server, owner); err != nil {
			return fmt.Errorf("cannot write the certificate of %s: %w", owner.user, err)
		}
	}
	if err := writeServiceAccountKeys(unfinished); err != nil {
		return err
	}
	return os.Rename(unfinished, *dir)
}

func newAuthority(dir string) (*authority, error) {
	key, err := newKey(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, err
	}
	template := newTemplate(pkix.Name{CommonName: "retryable-tasks-test-ca"})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	ca := &authority{certificate: template, key: key}
	if err := ca.sign(filepath.Join(dir, "ca.crt"), template, key); err != nil {
		return nil, err
	}
	return ca, nil
}

// issue writes owner's key, certificate and kubeconfig into dir, which is to be renamed to final.
func (ca *authority) issue(dir, final, server string, owner identity) error {
	key, err := newKey(filepath.Join(dir, owner.file+".key"))
	if err != nil {
		return err
	}
	name := pkix.Name{CommonName: owner.user}
	if owner.group != "" {
		name.Organization = []string{owner.group}
	}
	template := newTemplate(name)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, host := range owner.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if err := ca.sign(filepath.Join(dir, owner.file+".crt"), template, key); err != nil || !owner.client {
		return err
	}
	return writeKubeconfig(filepath.Join(dir, owner.file+".kubeconfig"), final, server, owner.file)
}

func (ca *authority) sign(path string, template *x509.Certificate, key crypto.Signer) error {
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, key.Public(), ca.key)
	if err != nil {
		return err
	}
	return writePEM(path, "CERTIFICATE", der)
}

func writeKubeconfig(path, final, server, user string) error {
	const cluster = "retryable-tasks"
	config := api.NewConfig()
	config.Clusters[cluster] = &api.Cluster{Server: server, CertificateAuthority: filepath.Join(final, "ca.crt")}
	config.AuthInfos[user] = &api.AuthInfo{
		ClientCertificate: filepath.Join(final, user+".crt"),
		ClientKey:         filepath.Join(final, user+".key"),
	}
	config.Contexts[cluster] = &api.Context{Cluster: cluster, AuthInfo: user}
	config.CurrentContext = cluster
	return clientcmd.WriteToFile(*config, path)
}

func writeServiceAccountKeys(dir string) error {
	key, err := newKey(filepath.Join(dir, "sa.key"))
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, "sa.pub"), "PUBLIC KEY", der)
}

func newTemplate(subject pkix.Name) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // crypto/rand does not fail
	now := time.Now()
	// A clock that is set back a little must not make the certificates too young.
	return &x509.Certificate{SerialNumber: serial, Subject: subject, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(validity)}
}

func newKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
