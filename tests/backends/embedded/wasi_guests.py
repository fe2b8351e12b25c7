"""Guests in WebAssembly text that ask WASI for what belongs to the gateway's process."""

from tests.backends.embedded import wat

_ERROR_CODE = """
  "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory"
  "timeout" "concurrency-conflict" "not-in-progress" "would-block" "invalid-state"
  "new-socket-limit" "address-not-bindable" "address-in-use" "remote-unreachable"
  "connection-refused" "connection-reset" "connection-aborted" "datagram-too-large"
  "name-unresolvable" "temporary-resolver-failure" "permanent-resolver-failure"
"""

ENVIRONMENT_AT, ARGUMENTS_AT, CWD_AT, DIRECTORIES_AT, LOOKUP_AT = 128, 136, 144, 156, 164

LOOKS_AROUND = wat.guest(
    wat.answering(
        200,
        body_bytes=172,
        before=f"""(call $environment (i32.const {ENVIRONMENT_AT}))
          (call $arguments (i32.const {ARGUMENTS_AT})) (call $cwd (i32.const {CWD_AT}))
          (call $directories (i32.const {DIRECTORIES_AT}))
          (call $resolve (call $network) (i32.const 192) (i32.const 9) (i32.const {LOOKUP_AT}))""",
    ),
    imports=f"""
  (import "wasi:cli/environment@0.2.0" (instance $around
    (export "get-environment" (func (result (list (tuple string string)))))
    (export "get-arguments" (func (result (list string))))
    (export "initial-cwd" (func (result (option string))))))
  (import "wasi:filesystem/types@0.2.0" (instance $files
    (export "descriptor" (type $d (sub resource)))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $opened
    (alias outer 1 $descriptor (type $outer))
    (export "descriptor" (type $d (eq $outer)))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))
  (import "wasi:sockets/network@0.2.0" (instance $networks
    (export "network" (type $n (sub resource)))
    (type $code-t (enum {_ERROR_CODE}))
    (export "error-code" (type $code (eq $code-t)))))
  (alias export $networks "network" (type $network))
  (alias export $networks "error-code" (type $error-code))
  (import "wasi:sockets/instance-network@0.2.0" (instance $ours
    (alias outer 1 $network (type $outer))
    (export "network" (type $n (eq $outer)))
    (export "instance-network" (func (result (own $n))))))
  (import "wasi:sockets/ip-name-lookup@0.2.0" (instance $names
    (alias outer 1 $network (type $outer))
    (export "network" (type $n (eq $outer)))
    (alias outer 1 $error-code (type $outer-code))
    (export "error-code" (type $code (eq $outer-code)))
    (export "resolve-address-stream" (type $stream (sub resource)))
    (export "resolve-addresses" (func (param "network" (borrow $n)) (param "name" string)
      (result (result (own $stream) (error $code)))))))
  (core func $environment
    (canon lower (func $around "get-environment") (memory $memory) (realloc $realloc)))
  (core func $arguments
    (canon lower (func $around "get-arguments") (memory $memory) (realloc $realloc)))
  (core func $cwd (canon lower (func $around "initial-cwd") (memory $memory) (realloc $realloc)))
  (core func $directories
    (canon lower (func $opened "get-directories") (memory $memory) (realloc $realloc)))
  (core func $network (canon lower (func $ours "instance-network")))
  (core func $resolve (canon lower (func $names "resolve-addresses") (memory $memory)))
  (core instance $wasi (export "environment" (func $environment))
    (export "arguments" (func $arguments)) (export "cwd" (func $cwd))
    (export "directories" (func $directories)) (export "network" (func $network))
    (export "resolve" (func $resolve)))""",
    core_imports="""(import "wasi" "environment" (func $environment (param i32)))
    (import "wasi" "arguments" (func $arguments (param i32)))
    (import "wasi" "cwd" (func $cwd (param i32)))
    (import "wasi" "directories" (func $directories (param i32)))
    (import "wasi" "network" (func $network (result i32)))
    (import "wasi" "resolve" (func $resolve (param i32 i32 i32 i32)))
    (data (i32.const 192) "localhost")""",
    given='(with "wasi" (instance $wasi))',
)
"""Answers its memory: lists (address, length), options and results (tag first) at their places."""


_STREAMS = """
  (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type $e (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $outer))
    (export "error" (type $e (eq $outer)))
    (export "input-stream" (type $i (sub resource)))
    (export "output-stream" (type $o (sub resource)))
    (type $failed-t (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $failed (eq $failed-t)))
    (export "[method]input-stream.blocking-read" (func
      (param "self" (borrow $i)) (param "len" u64) (result (result (list u8) (error $failed)))))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $o)) (param "contents" (list u8)) (result (result (error $failed)))))))
"""

READ_AT = 128

READS_STDIN = wat.guest(
    wat.answering(
        200,
        body_bytes=140,
        before=f"(call $read (call $get) (i64.const 8) (i32.const {READ_AT}))",
    ),
    imports=f"""{_STREAMS}
  (alias export $streams "input-stream" (type $input))
  (import "wasi:cli/stdin@0.2.0" (instance $std
    (alias outer 1 $input (type $outer))
    (export "input-stream" (type $i (eq $outer)))
    (export "get-stdin" (func (result (own $i))))))
  (core func $get (canon lower (func $std "get-stdin")))
  (core func $read (canon lower
    (func $streams "[method]input-stream.blocking-read") (memory $memory) (realloc $realloc)))
  (core instance $wasi (export "get" (func $get)) (export "read" (func $read)))""",
    core_imports="""(import "wasi" "get" (func $get (result i32)))
    (import "wasi" "read" (func $read (param i32 i64 i32)))""",
    given='(with "wasi" (instance $wasi))',
)
"""Answers its memory, the result of the read (tag first) at its place."""


def printing(stream: str) -> str:
    """Writes "leaked" to wasi:cli's `stream`, "stdout" or "stderr"."""
    return wat.guest(
        wat.answering(
            200,
            before="(call $write (call $get) (i32.const 192) (i32.const 6) (i32.const 128))",
        ),
        imports=f"""{_STREAMS}
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/{stream}@0.2.0" (instance $std
    (alias outer 1 $output (type $outer))
    (export "output-stream" (type $o (eq $outer)))
    (export "get-{stream}" (func (result (own $o))))))
  (core func $get (canon lower (func $std "get-{stream}")))
  (core func $write (canon lower
    (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core instance $wasi (export "get" (func $get)) (export "write" (func $write)))""",
        core_imports="""(import "wasi" "get" (func $get (result i32)))
    (import "wasi" "write" (func $write (param i32 i32 i32 i32)))
    (data (i32.const 192) "leaked")""",
        given='(with "wasi" (instance $wasi))',
    )


def opening(kind: str) -> str:
    """Makes a socket of a `kind`, "tcp" or "udp"."""
    return wat.guest(
        wat.answering(200, before="(call $create (i32.const 0) (i32.const 128))"),
        imports=f"""
  (import "wasi:sockets/network@0.2.0" (instance $networks
    (type $code-t (enum {_ERROR_CODE}))
    (export "error-code" (type $code (eq $code-t)))
    (type $family-t (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type $family (eq $family-t)))))
  (alias export $networks "error-code" (type $error-code))
  (alias export $networks "ip-address-family" (type $family))
  (import "wasi:sockets/{kind}@0.2.0" (instance $sockets
    (export "{kind}-socket" (type $s (sub resource)))))
  (alias export $sockets "{kind}-socket" (type $socket))
  (import "wasi:sockets/{kind}-create-socket@0.2.0" (instance $makers
    (alias outer 1 $error-code (type $outer-code))
    (export "error-code" (type $code (eq $outer-code)))
    (alias outer 1 $family (type $outer-family))
    (export "ip-address-family" (type $f (eq $outer-family)))
    (alias outer 1 $socket (type $outer-socket))
    (export "{kind}-socket" (type $s (eq $outer-socket)))
    (export "create-{kind}-socket" (func (param "address-family" $f)
      (result (result (own $s) (error $code)))))))
  (core func $create
    (canon lower (func $makers "create-{kind}-socket") (memory $memory)))
  (core instance $wasi (export "create" (func $create)))""",
        core_imports='(import "wasi" "create" (func $create (param i32 i32)))',
        given='(with "wasi" (instance $wasi))',
    )
