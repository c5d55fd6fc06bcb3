(module
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func (param i32 i32)))
  (type (;2;) (func (param i32)))
  (type (;3;) (func))
  (type (;4;) (func (param i32 i32) (result i32 i32)))
  (import "env" "ask" (func (;0;) (type 0)))
  (func (;1;) (type 4) (param i32 i32) (result i32 i32)
    block  ;; label = @1
      local.get 0
      i32.const 9
      call 0
      global.get 0
      br_if 0 (;@1;)
      i32.mul
      local.get 1
      return
    end
    local.get 1
    i32.const 63
    call 2
    i32.const 0
    i32.const 1
    call 3
    local.get 0
    call 4
    i32.const 0
    i32.const -1)
  (func (;2;) (type 1) (param i32 i32)
    local.get 0
    local.get 1
    i32.const 17
    call_indirect (type 1))
  (func (;3;) (type 1) (param i32 i32)
    local.get 0
    local.get 1
    i32.const 0
    call_indirect (type 1))
  (func (;4;) (type 2) (param i32)
    local.get 0
    i32.const 1
    call_indirect (type 2))
  (func (;5;) (type 0) (param i32) (result i32)
    i32.const 0
    i32.const 12
    call_indirect (type 0)
    local.get 0
    call 1
    local.set 0
    i32.const 0
    call 2
    local.get 0)
  (func (;6;) (type 3))
  (func (;7;) (type 3))
  (func (;8;) (type 2) (param i32)
    i32.const 0
    local.get 0
    i32.const 1
    table.init 1 0)
  (table (;0;) 22 22 funcref)
  (table (;1;) 1 1 funcref)
  (global (;0;) (mut i32) (i32.const 0))
  (global (;1;) (mut i32) (i32.const 65536))
  (global (;2;) (mut i32) (i32.const 0))
  (export "$h" (table 0))
  (export "$s" (table 1))
  (export "$i" (global 0))
  (export "$l" (global 1))
  (export "$r" (global 2))
  (export "$f:f" (func 5))
  (export "$save" (func 6))
  (export "$load" (func 7))
  (export "$b" (func 8))
  (elem (;0;) func 0 1 2 3 4 5 6 7 8))
