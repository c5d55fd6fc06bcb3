(module
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func (param i32 i32)))
  (type (;2;) (func))
  (type (;3;) (func (param i32)))
  (func (;0;) (type 0) (param i32) (result i32)
    block  ;; label = @1
      local.get 0
      br_if 0 (;@1;)
      i32.const 1
      return
    end
    i32.const 2)
  (func (;1;) (type 0) (param i32) (result i32)
    i32.const 0
    i32.const 12
    call_indirect (type 0)
    call 0
    i32.const 0
    i32.const 17
    call_indirect (type 1)
    local.get 0)
  (func (;2;) (type 2))
  (func (;3;) (type 2))
  (func (;4;) (type 3) (param i32)
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
  (export "$f:f" (func 1))
  (export "$save" (func 2))
  (export "$load" (func 3))
  (export "$b" (func 4))
  (elem (;0;) func 0 1 2 3 4))
