(module
  (type (;0;) (func (param i32) (result f64)))
  (type (;1;) (func (param i32 i32)))
  (type (;2;) (func (param i32)))
  (type (;3;) (func (param f64)))
  (type (;4;) (func (param i32) (result i32)))
  (type (;5;) (func (param f64 i32)))
  (type (;6;) (func))
  (type (;7;) (func (param i32 i32) (result f64 i32)))
  (func (;0;) (type 7) (param i32 i32) (result f64 i32)
    (local i32 i32 f64 i32)
    block (result i32)  ;; label = @1
      block  ;; label = @2
        block  ;; label = @3
          loop  ;; label = @4
            local.get 1
            i32.const 1
            i32.sub
            local.tee 1
            i32.const 0
            i32.lt_s
            br_if 1 (;@3;)
            i32.const 0
            local.set 3
            loop  ;; label = @5
              local.get 1
              i32.const 1
              i32.sub
              local.tee 1
              i32.const 0
              i32.lt_s
              br_if 3 (;@2;)
              local.get 1
              local.get 0
              local.get 3
              i32.sub
              i32.const 1
              i32.sub
              i32.const 0
              local.get 3
              local.get 0
              i32.lt_s
              select
              local.tee 5
              local.get 1
              local.get 5
              local.get 1
              i32.lt_u
              select
              local.tee 5
              i32.sub
              local.set 1
              local.get 5
              local.get 3
              i32.add
              i32.const 1
              i32.add
              local.set 5
              loop  ;; label = @6
                local.get 4
                local.get 3
                f64.convert_i32_s
                f64.add
                local.set 4
                local.get 3
                i32.const 1
                i32.add
                local.tee 3
                local.get 5
                i32.ne
                br_if 0 (;@6;)
              end
              local.get 3
              local.get 0
              i32.lt_s
              br_if 0 (;@5;)
            end
            local.get 2
            i32.const 1
            i32.add
            local.tee 2
            local.get 0
            i32.lt_s
            br_if 0 (;@4;)
          end
          local.get 4
          local.get 1
          return
        end
        i32.const 0
        br 1 (;@1;)
      end
      i32.const 1
    end
    i32.const 0
    call 1
    local.get 0
    call 2
    local.get 2
    call 2
    local.get 3
    call 2
    local.get 4
    call 3
    f64.const 0x0p+0 (;=0;)
    i32.const -1)
  (func (;1;) (type 1) (param i32 i32)
    local.get 0
    local.get 1
    i32.const 0
    call_indirect (type 1))
  (func (;2;) (type 2) (param i32)
    local.get 0
    i32.const 1
    call_indirect (type 2))
  (func (;3;) (type 3) (param f64)
    local.get 0
    i32.const 4
    call_indirect (type 3))
  (func (;4;) (type 4) (param i32) (result i32)
    i32.const 0
    i32.const 12
    call_indirect (type 4)
    local.get 0
    call 0
    local.set 0
    i32.const 0
    i32.const 20
    call_indirect (type 5)
    local.get 0)
  (func (;5;) (type 6))
  (func (;6;) (type 6))
  (func (;7;) (type 2) (param i32)
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
  (export "$f:f" (func 4))
  (export "$save" (func 5))
  (export "$load" (func 6))
  (export "$b" (func 7))
  (elem (;0;) func 0 1 2 3 4 5 6 7))
