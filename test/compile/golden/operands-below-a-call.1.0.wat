(module $sherd-k-1-0
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func (param i32 i32)))
  (type (;2;) (func (param i32) (result i32 i32)))
  (import "store" "load_i32" (func (;0;) (type 0)))
  (import "store" "get_i32" (func (;1;) (type 0)))
  (import "store" "set_i32" (func (;2;) (type 1)))
  (import "export" "$m" (memory (;0;) 1))
  (func (;3;) (type 2) (param i32) (result i32 i32)
    (local i32 i32)
    i32.const 0
    call 0
    local.set 1
    i32.const 8
    call 0
    local.set 2
    local.get 2
    local.get 1
    i32.const 7
    i32.const 0
    call 1
    i32.add
    i32.add
    i32.add
    local.get 0)
  (func (;4;) (type 0) (param i32) (result i32)
    local.get 0
    call 3
    local.set 0
    i32.const 0
    call 2
    local.get 0)
  (export "k" (func 4)))
