package compiler

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/fnv"
	"maps"

	runtimev1 "github.com/cerbos/cerbos/api/genpb/cerbos/runtime/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// tellApart gives rules with different conditions different keys. Within a check, Cerbos evaluates
// one condition for each key, and takes the result for every rule with that key. Rules of one
// policy share a key if they have one name, or stand for different kinds in a role policy. Then one
// action was allowed by the condition of another.
func tellApart(rt *runtimev1.RuleTable) error {
	numbers := map[string]map[string]uint32{} // of conditions, by key
	for _, row := range rt.GetRules() {
		if row.GetEvaluationKeyTuple() == nil { // a policy without rules
			if row.GetCondition() != nil || row.GetDerivedRoleCondition() != nil {
				return fmt.Errorf("a rule of %s has no key", row.GetOriginFqn())
			}
			continue
		}
		row.EvaluationKeyTuple.RuleId = 0
		key, err := canonical.Marshal(row.EvaluationKeyTuple)
		if err != nil {
			return fmt.Errorf("write a key: %w", err)
		}
		condition, err := canonical.Marshal(&runtimev1.RuleTable_RuleRow{
			Condition: row.GetCondition(), Params: row.GetParams(),
			DerivedRoleCondition: row.GetDerivedRoleCondition(), DerivedRoleParams: row.GetDerivedRoleParams()})
		if err != nil {
			return fmt.Errorf("write a condition: %w", err)
		}
		of := numbers[string(key)]
		if of == nil {
			of = map[string]uint32{}
			numbers[string(key)] = of
		}
		number, known := of[string(condition)]
		if !known {
			number = uint32(len(of))
			of[string(condition)] = number
		}
		row.EvaluationKeyTuple.RuleId = number
	}
	return nil
}

// tagged is the name of the constant that tellHashesApart adds. No policy can have it.
const tagged = "\x00"

// tellHashesApart gives different rules, and different constants and variables, different hashes.
// Cerbos keeps one condition for all rules of one hash, in the whole table. Its hash writes neither
// which of all, any and none a list belongs to, nor where a list ends. So a rule for which a
// condition must not hold took the condition of one for which it must.
//
// Only rules whose hashes meet get a tag: another set of constants is another set of variables to
// evaluate.
func tellHashesApart(rt *runtimev1.RuleTable) error {
	params, rows := byHash{}, byHash{}
	for _, row := range rt.GetRules() {
		for _, p := range []*runtimev1.RuleTable_RuleRow_Params{row.GetParams(), row.GetDerivedRoleParams()} {
			if p == nil {
				continue
			}
			if err := params.tag(p, p); err != nil {
				return err
			}
		}
		if row.GetCondition() == nil && row.GetDerivedRoleCondition() == nil && row.GetEmitOutput() == nil {
			continue
		}
		decides := &runtimev1.RuleTable_RuleRow{Condition: row.GetCondition(),
			DerivedRoleCondition: row.GetDerivedRoleCondition(), Effect: row.GetEffect(),
			ScopePermissions: row.GetScopePermissions(), EmitOutput: row.GetEmitOutput(), Params: row.GetParams(),
			DerivedRoleParams: row.GetDerivedRoleParams(), FromRolePolicy: row.GetFromRolePolicy(),
			PolicyKind: row.GetPolicyKind()}
		if row.Params == nil {
			row.Params = &runtimev1.RuleTable_RuleRow_Params{}
		}
		if err := rows.tag(decides, row.Params); err != nil {
			return err
		}
	}
	return nil
}

// hashed is a message that Cerbos hashes.
type hashed interface {
	proto.Message
	HashPB(into hash.Hash, ignore map[string]struct{})
}

// byHash has the different messages of each hash, by their bytes.
type byHash map[uint64]map[string]bool

// tag adds a constant to params if a different message before m has its hash.
func (k byHash) tag(m hashed, params *runtimev1.RuleTable_RuleRow_Params) error {
	content, err := canonical.Marshal(m)
	if err != nil {
		return fmt.Errorf("write a rule: %w", err)
	}
	sum := fnv.New64a()
	m.HashPB(sum, nil)
	of := k[sum.Sum64()]
	switch is, known := of[string(content)]; {
	case of == nil:
		k[sum.Sum64()] = map[string]bool{string(content): false}
		return nil
	case known && !is:
		return nil
	}
	of[string(content)] = true
	constants := maps.Clone(params.GetConstants()) // rules of one policy share them
	if constants == nil {
		constants = map[string]*structpb.Value{}
	}
	constants[tagged] = structpb.NewStringValue(fmt.Sprintf("%x", sha256.Sum256(content)))
	params.Constants = constants
	return nil
}
