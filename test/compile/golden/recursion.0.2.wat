(module $sherd-k-0-2
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func (param i32 i32)))
  (type (;2;) (func (param i32) (result i32 i32)))
  (import "store" "load_i32" (func (;0;) (type 0)))
  (import "store" "get_i32" (func (;1;) (type 0)))
  (import "store" "set_i32" (func (;2;) (type 1)))
  (func (;3;) (type 2) (param i32) (result i32 i32)
    (local i32 i32)
    i32.const 8
    call 0
    local.set 2
    block (result i32)  ;; label = @1
      local.get 2
      i32.const 0
      call 1
      i32.add
    end
    local.get 0)
  (func (;4;) (type 0) (param i32) (result i32)
    local.get 0
    call 3
    local.set 0
    i32.const 0
    call 2
    local.get 0)
  (export "k" (func 4)))
