# What a person types here. Everything is a thin wrapper: the commands themselves are printed as they run.

TARGET ?= $(shell rustc --print host-tuple)
CARGO_TARGET_DIR ?= target
BIN     = $(CARGO_TARGET_DIR)/$(TARGET)/release
RAINBOW ?= $(BIN)/rainbow
APPS    = $(CARGO_TARGET_DIR)/seamless
EXAMPLE = examples/seamless
# Rainbow's own images, under the names that `rainbow install` expects.
VERSION         = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
OURS            = $(CARGO_TARGET_DIR)/images-rainbow
OPERATOR_IMAGE ?= ghcr.io/rainbow-dev/rainbow:$(VERSION)
TALLY_IMAGE    ?= ghcr.io/rainbow-dev/tally:$(VERSION)

.PHONY: help build demo demo-colors demo-backward test explore test-kubernetes test-on-kubernetes bench bench-kubernetes bench-argo images-rainbow lint fmt \
        setup images deploy-initial-active query-active deploy-smoke query-smoke upgrade-active poll-active clean deepclean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-24s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## The rainbow command, the counter, and the examples' programs
	cargo build --release --target $(TARGET) -p rainbow-cli -p tally -p seamless-apps -p colors -p traffic

demo: build ## The whole story in one go: two tiers, two versions, nothing lost
	$(RAINBOW) demo

demo-colors: build ## The second story: three colors named by git, and connections that stay with theirs
	$(RAINBOW) demo colors

demo-backward: build ## The third story: a backend that may be newer than its frontends, and releases tier by tier
	$(RAINBOW) demo backward

# KUBECTL is the one that tests use; without it the newest is built once, where there is Go.
test: ## Unit, property and end-to-end tests, with one summary
	scripts/test

# `make test` has the same few histories each time. Here are HISTORIES of each property over all its classes, optimised, in parts of a thousand. Parts
# that this build has found clean are not tried again; ARGS are options of the tests, such as ARGS=refills:: or ARGS=--ignored.
HISTORIES ?= 100000
explore: ## Many random histories for the planner, for hours; continues where it was stopped
	CARGO_PROFILE_DEV_OPT_LEVEL=2 EXPLORE=$(HISTORIES) EXPLORE_DIR=$(abspath $(CARGO_TARGET_DIR)/explore/histories) \
		cargo test --target-dir $(CARGO_TARGET_DIR)/explore -p rainbow-plan --no-fail-fast \
		--test properties --test many_colors --test wide --test tiers --test checked -- $(ARGS)

# ARGS are options of the suite, such as ARGS="--load-command 'k3s ctr images import {archive}' shift::".
test-kubernetes: ## The end-to-end tests on the cluster of the current kubeconfig (docs/testing.md)
	scripts/test-kubernetes $(ARGS)

# KUBE_VERSION, PROXY and NODES choose the cluster.
KUBERNETES ?= ../shared/kubernetes
test-on-kubernetes: ## The same on a real cluster that the directory KUBERNETES has the scripts for; needs root
	scripts/on-kubernetes $(KUBERNETES) $(ARGS)

bench: build ## The figures, each beside its target
	cargo build --release --target $(TARGET) -p bench
	RAINBOW_BIN_DIR=$(abspath $(BIN)) $(BIN)/bench --json $(CARGO_TARGET_DIR)/bench.json

# ARGS are options of the bench, such as ARGS="--every 5s --load-command 'k3s ctr images import {archive}'".
bench-kubernetes: build ## A release by kubectl alone beside one by Rainbow, on the cluster of the current kubeconfig
	cargo build --release --target $(TARGET) -p bench
	RAINBOW_BIN_DIR=$(abspath $(BIN)) $(BIN)/bench-kubernetes --json $(CARGO_TARGET_DIR)/bench-kubernetes.json $(ARGS)

# The cluster has Argo Rollouts' CustomResourceDefinitions, and ARGO_ROLLOUTS_CONTROLLER is the path of its controller.
bench-argo: build ## The same releases by Argo Rollouts and by Rainbow, on the cluster of the current kubeconfig
	cargo build --release --target $(TARGET) -p bench
	RAINBOW_BIN_DIR=$(abspath $(BIN)) $(BIN)/bench-argo --json $(CARGO_TARGET_DIR)/bench-argo.json $(ARGS)

# Built into the local cluster's store, as `rainbow image build` does it, and written to an archive that any cluster loads.
images-rainbow: build ## The operator's and the counter's image, and an archive of both
	install -D -m 0755 -t $(OURS) $(BIN)/rainbow $(BIN)/tally
	$(RAINBOW) image build -t $(OPERATOR_IMAGE) -f deploy/rainbow.Dockerfile $(OURS)
	$(RAINBOW) image build -t $(TALLY_IMAGE) -f deploy/tally.Dockerfile $(OURS)
	$(RAINBOW) image save -o $(OURS)/images.tar $(OPERATOR_IMAGE) $(TALLY_IMAGE)
	@echo "$(OURS)/images.tar: give it to the cluster's nodes, then \`rainbow install --wait\`"

lint: ## Format, lints, licenses, unused dependencies
	scripts/lint

fmt: ## Format everything
	cargo fmt --all

# The example step by step, under the names that the proof of concept uses.

setup: build ## The local cluster
	$(RAINBOW) local up

images: build ## frontend and backend, v1 and v2
	install -D -m 0755 -t $(APPS) $(BIN)/frontend $(BIN)/backend
	for version in v1 v2; do for tier in backend frontend; do \
	  $(RAINBOW) image build -t $$tier:$$version --build-arg VERSION=$$version -f $(EXAMPLE)/$$tier.Dockerfile $(APPS) || exit; \
	done; done

deploy-initial-active: ## Version 1, which the active stage then serves
	$(RAINBOW) apply -f $(EXAMPLE)/v1.yaml --wait

query-active: ## One request to the active stage
	$(RAINBOW) query seamless --stage active

deploy-smoke: ## Version 2 beside it, which the smoke stage then serves
	$(RAINBOW) apply -f $(EXAMPLE)/v2.yaml --wait

query-smoke: ## One request to the smoke stage
	$(RAINBOW) query seamless --stage smoke

upgrade-active: ## The active stage moves to version 2, pod by pod
	$(RAINBOW) promote seamless --wait

poll-active: ## One request a second to the active stage, until Ctrl-C
	$(EXAMPLE)/scripts/poll-active

clean: ## The application
	-$(RAINBOW) delete seamless --wait --ignore-not-found

deepclean: clean ## The application, the local cluster with its images, and what was built
	-$(RAINBOW) local down --purge
	cargo clean
