# The operator, which is the `rainbow` command. Context: a directory with the static program, see the Makefile's target
# `images-rainbow`.
FROM scratch
COPY --chmod=0755 rainbow /rainbow
USER 65532:65532
ENTRYPOINT ["/rainbow"]
