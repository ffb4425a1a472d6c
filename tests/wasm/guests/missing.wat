;; Imports something that nobody has.
(module
  (import "env" "launch_missiles" (func $f (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $f (i32.const 1))))
