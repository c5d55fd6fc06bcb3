(module
  (type (;0;) (func (param i32) (result i32)))
  (type (;1;) (func (param i32 i32)))
  (type (;2;) (func (param i32)))
  (type (;3;) (func))
  (type (;4;) (func (param i32 i32) (result i32 i32)))
  (func (;0;) (type 4) (param i32 i32) (result i32 i32)
    block  ;; label = @1
      local.get 1
      i32.const 1
      i32.sub
      local.tee 1
      i32.const 0
      i32.lt_s
      br_if 0 (;@1;)
      local.get 0
      local.get 1
      return
    end
    i32.const 0
    i32.const 0
    call 2
    local.get 0
    call 3
    i32.const 0
    i32.const -1)
  (func (;1;) (type 4) (param i32 i32) (result i32 i32)
    (local i32)
    block  ;; label = @1
      local.get 0
      i32.load
      local.tee 2
      local.get 0
      i32.const 7
      i32.const 1
      local.get 1
      call 0
      local.tee 1
      i32.const 0
      i32.lt_s
      br_if 0 (;@1;)
      i32.add
      i32.add
      i32.add
      local.get 1
      return
    end
    i32.const 0
    i32.const 1
    call 2
    local.get 0
    call 3
    local.get 2
    call 3
    i32.const 0
    i32.const -1)
  (func (;2;) (type 1) (param i32 i32)
    local.get 0
    local.get 1
    i32.const 0
    call_indirect (type 1))
  (func (;3;) (type 2) (param i32)
    local.get 0
    i32.const 1
    call_indirect (type 2))
  (func (;4;) (type 0) (param i32) (result i32)
    i32.const 0
    i32.const 12
    call_indirect (type 0)
    local.get 0
    call 1
    local.set 0
    i32.const 0
    i32.const 17
    call_indirect (type 1)
    local.get 0)
  (func (;5;) (type 3))
  (func (;6;) (type 3))
  (func (;7;) (type 2) (param i32)
    i32.const 0
    local.get 0
    i32.const 1
    table.init 1 0)
  (table (;0;) 22 22 funcref)
  (table (;1;) 1 1 funcref)
  (memory (;0;) 1)
  (global (;0;) (mut i32) (i32.const 0))
  (global (;1;) (mut i32) (i32.const 65536))
  (global (;2;) (mut i32) (i32.const 0))
  (export "$m" (memory 0))
  (export "$h" (table 0))
  (export "$s" (table 1))
  (export "$i" (global 0))
  (export "$l" (global 1))
  (export "$r" (global 2))
  (export "$f:f" (func 4))
  (export "$save" (func 5))
  (export "$load" (func 6))
  (export "$b" (func 7))
  (elem (;0;) func 0 1 2 3 4 5 6 7))
