"""Guests in WebAssembly text: each does one thing, so that a test shows one thing."""

from collections.abc import Sequence
from pathlib import Path

import orjson
from wasmtime import wat2wasm

from backends.bundles.pack import pack
from backends.bundles.store import BundleStore

_TYPES = """
  (type $header-t (record (field "name" string) (field "value" string)))
  (export $header "http-header" (type $header-t))
  (type $context-t (record
    (field "request-id" (option string)) (field "tenant-id" string)
    (field "extension-id" string) (field "install-id" (option string))
    (field "version-id" (option string))))
  (export $context "context-data" (type $context-t))
  (type $http-t (record (field "method" string) (field "url" string)
    (field "headers" (list $header)) (field "body" (option (list u8)))))
  (export $http "http-request" (type $http-t))
  (type $request-t (record (field "context" $context) (field "http" $http)))
  (export $request "execute-request" (type $request-t))
  (type $response-t (record (field "status" u16)
    (field "headers" (list $header)) (field "body" (option (list u8)))))
  (export $response "execute-response" (type $response-t))
"""

_LIBC = """
  (core module $libc-m
    (memory (export "memory") {pages})
    (global $heap (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
      (local.set $at (global.get $heap))
      (global.set $heap (i32.add (global.get $heap) (local.get 3)))
      (block $fits
        (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
        (drop (memory.grow (i32.add (i32.shr_u (local.get 3) (i32.const 16)) (i32.const 1)))))
      (local.get $at)))
  (core instance $libc (instantiate $libc-m))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
"""


def guest(
    body: str, *, imports: str = "", core_imports: str = "", given: str = "", pages: int = 1
) -> str:
    """A component whose handler is `body`: core instructions that leave the response's address.

    The request lies at $request: url at 60, headers at 68, body at 76 (tag, pointer, length).
    A response is laid out as status at 0, headers at 4, body at 12 (tag, pointer, length).
    """
    return f"""(component
  {_LIBC.format(pages=pages)}
  {imports}
  (core module $main-m
    (import "libc" "memory" (memory 0))
    {core_imports}
    (func (export "handler") (param $request i32) (result i32) {body}))
  (core instance $main (instantiate $main-m (with "libc" (instance $libc)) {given}))
  {_TYPES}
  (func $handler (param "request" $request) (result $response)
    (canon lift (core func $main "handler") (memory $memory) (realloc $realloc)))
  (export "handler" (func $handler)))"""


def answering(status: int, *, body_bytes: int | None = None, before: str = "") -> str:
    """Run `before`, then answer `status`, with so many bytes of memory as its body."""
    body = ""
    if body_bytes is not None:
        body = f"""(i32.store8 (i32.const 76) (i32.const 1))
      (i32.store (i32.const 84) (i32.const {body_bytes}))"""
    return f"{before} (i32.store16 (i32.const 64) (i32.const {status})) {body} (i32.const 64)"


ECHO = guest(
    answering(
        200,
        before="""
  (i64.store (i32.const 68) (i64.load (i32.add (local.get $request) (i32.const 68))))
  (i64.store (i32.const 76) (i64.load (i32.add (local.get $request) (i32.const 76))))
  (i32.store (i32.const 84) (i32.load (i32.add (local.get $request) (i32.const 84))))""",
    )
)
"""Answers the request's own headers and body."""

URL = guest(
    answering(
        200,
        before="""
  (i32.store8 (i32.const 76) (i32.const 1))
  (i64.store (i32.const 80) (i64.load (i32.add (local.get $request) (i32.const 60))))""",
    )
)
"""Answers the request's url as its body."""

ENDLESS = guest("(loop $forever (br $forever)) unreachable")
MANY_HEADERS = guest(
    answering(
        200,
        before="""(i32.store (i32.const 68) (i32.const 131_072))
  (i32.store (i32.const 72) (i32.const 30_000))""",
    ),
    pages=10,
)
"""Answers with thirty thousand empty header fields."""

TRAP = guest("unreachable")
RECURSION = guest("(call 0 (local.get $request))")
HUNGRY = guest(
    answering(
        507,
        before="(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))",
    )
)
"""Takes memory until none is given, and answers 507 then."""

LARGE_FROM_THE_START = guest(answering(200), pages=2_000)
OUT_OF_MEMORY = guest("(call $rust_oom) (i32.const 0)", core_imports="(func $rust_oom unreachable)")
NO_HANDLER = "(component)"
OTHER_ANSWER = ECHO.replace('(field "status" u16)', '(field "code" u16)')
OTHER_HANDLER = """(component
  (core module $m (func (export "handler") (result i32) (i32.const 1)))
  (core instance $m (instantiate $m))
  (func (export "handler") (result u32) (canon lift (core func $m "handler"))))"""


def calling_log_info(then: str = "") -> str:
    """Calls logging.log-info("hello") once, does `then`, and answers 200."""
    return guest(
        answering(200, before=f"(call $log (i32.const 128) (i32.const 5)) {then}"),
        imports="""
  (import "alga:extension/logging" (instance $logging
    (export "log-info" (func (param "message" string)))))
  (core func $log (canon lower (func $logging "log-info") (memory $memory)))
  (core instance $host (export "log" (func $log)))""",
        core_imports="""(import "host" "log" (func $log (param i32 i32)))
    (data (i32.const 128) "hello")""",
        given='(with "host" (instance $host))',
    )


def importing(interface: str, functions: str = "") -> str:
    """Imports an interface and uses nothing of it."""
    return guest(answering(200), imports=f'(import "{interface}" (instance {functions}))')


SLEEPER = guest(
    answering(200, before="(call $block (call $subscribe (i64.const 3_600_000_000_000)))"),
    imports="""
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $p (eq $outer)))
    (export "now" (func (result u64)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $now (canon lower (func $clock "now")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core instance $wasi (export "subscribe" (func $subscribe)) (export "now" (func $now))
    (export "block" (func $block)))""",
    core_imports="""(import "wasi" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "wasi" "now" (func $now (result i64)))
    (import "wasi" "block" (func $block (param i32)))""",
    given='(with "wasi" (instance $wasi))',
)
"""Asks the engine's clock for an hour of sleep."""

READS_CLOCK = SLEEPER.replace(
    "(call $block (call $subscribe (i64.const 3_600_000_000_000)))", "(drop (call $now))"
)


def passthrough(
    function: str,
    *,
    types: Sequence[tuple[str, str]],
    params: str,
    core_params: str,
    result: str,
) -> str:
    """A component whose `probe` calls the imported `function` and returns what it answered.

    Args:
        types: (name, definition) of the named types, in order of use as $name.
        params: of the function, as WIT text; core_params the same, flattened.
    """
    declared = "".join(
        f'(type ${name}-t {text}) (export "{name}" (type ${name} (eq ${name}-t)))'
        for name, text in types
    )
    aliases = "".join(f'(alias export $host "{name}" (type ${name}))' for name, _ in types)
    pushed = " ".join(f"(local.get {index})" for index in range(len(core_params.split())))
    return f"""(component
  {_LIBC.format(pages=1)}
  (import "alga:extension/probed" (instance $host
    {declared} (export "{function}" (func {params} (result {result})))))
  {aliases}
  (core func $f (canon lower (func $host "{function}") (memory $memory) (realloc $realloc)))
  (core instance $host-core (export "f" (func $f)))
  (core module $main-m
    (import "host" "f" (func $f (param {core_params} i32)))
    (func (export "probe") (param {core_params}) (result i32)
      (call $f {pushed} (i32.const 64)) (i32.const 64)))
  (core instance $main (instantiate $main-m (with "host" (instance $host-core))))
  (func (export "probe") {params} (result {result})
    (canon lift (core func $main "probe") (memory $memory) (realloc $realloc))))"""


def install(root: Path, component: str | bytes, capabilities: Sequence[str] = ()) -> str:
    """Pack `component` as a bundle into the store at `root`, and return its content hash."""
    source = root / "source"
    (source / "dist").mkdir(parents=True, exist_ok=True)
    (source / "ui").mkdir(exist_ok=True)
    wasm = component if isinstance(component, bytes) else bytes(wat2wasm(component))
    (source / "dist" / "main.wasm").write_bytes(wasm)
    (source / "ui" / "index.html").write_text("<!doctype html><title>t</title>")
    manifest = {
        "name": "guest",
        "publisher": "test",
        "version": "1.0.0",
        "runtime": "wasm-js@1",
        "capabilities": list(capabilities),
        "ui": {"type": "iframe", "entry": "ui/index.html"},
    }
    (source / "manifest.json").write_bytes(orjson.dumps(manifest))
    archive = root / "bundle.tar.zst"
    pack(source, archive)
    return BundleStore(root).add(archive).content_hash
