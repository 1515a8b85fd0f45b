# check: every test, as CI runs them.  bench: sessd beside ssh and tmux, in one run.  release: the program, optimised.
.PHONY: check bench release
check:
	./check
release:
	cargo build --release
bench: release
	SESSD_BIN=$(CURDIR)/target/release/sessd cargo bench -p sessd-tests --bench side_by_side -- $(BENCH)
	cargo bench -p sessd-terminal --bench model
