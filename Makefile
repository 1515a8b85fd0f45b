# check: every test, as CI runs them.  bench: sessd beside ssh and tmux, in one run.  release: the program, optimised.
# sim: ten thousand seeds of the simulation (tests/sim).  agents: the agent for other machines, into target/agents.
.PHONY: check bench release sim agents
check:
	./check
sim:
	SESSD_SIM_SEEDS=10000 cargo test --release -p sessd-sim -- --nocapture
release:
	cargo build --release
bench: release
	SESSD_BIN=$(CURDIR)/target/release/sessd cargo bench -p sessd-tests --bench side_by_side -- $(BENCH)
	SESSD_BIN=$(CURDIR)/target/release/sessd cargo bench -p sessd-tests --bench back
	cargo bench -p sessd-terminal --bench model
agents:
	remote-agent/build-for $(TARGETS)
