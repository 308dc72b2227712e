# The six words: see CONTRIBUTING.md. Another interpreter: `make test PYTHON=.venv/bin/python`.
PYTHON = python
REV = HEAD

.PHONY: build test check bench bench-compare docs

build: # the tree itself is installed; again after a change under src/
	$(PYTHON) -m pip install -e ".[test]"

test:
	$(PYTHON) -m pytest -q

check: # what .ci/run checks without running anything of cmlp
	$(PYTHON) tools/check_house.py
	$(PYTHON) -m pre_commit run --all-files && $(PYTHON) -m mypy --strict cmlp

bench:
	$(PYTHON) -m benchmarks

bench-compare: # is the tree slower than REV?
	$(PYTHON) -m benchmarks --against $(REV)

docs: # into build/docs
	$(PYTHON) -m sphinx -q -C -D extensions=myst_parser -D suppress_warnings=toc.not_included -D project=cmlp \
		-D root_doc=design docs build/docs
