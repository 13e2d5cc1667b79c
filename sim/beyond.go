package sim

import "net/http"

// beyond returns what serves the operations that Atlas has and the contract has not: those that
// clients ask for beside an export, and one that does harm. A test sees in the counts whether a
// request reached one of them.
func (s *Server) beyond() map[string]func(*exchange) error {
	return map[string]func(*exchange) error{
		"GET " + v2Flex + "snapshots":                  s.refuseFlex,
		"GET " + v2Flex + "snapshots/{snapshotId}":     s.refuseFlex,
		"GET " + v2Flex + "restoreJobs":                s.refuseFlex,
		"GET " + v2Flex + "restoreJobs/{restoreJobId}": s.refuseFlex,
		"DELETE " + v2Schedule:                         s.deleteSchedule,
		"DELETE " + v1Schedule:                         s.deleteSchedule,
	}
}

// serveBeyond registers them.
func (s *Server) serveBeyond(routes *routes) {
	for pattern, serve := range s.beyond() {
		routes.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := serve(exchangeOf(r.Context())); err != nil {
				s.refuse(w, r, err)
			}
		})
	}
}

// refuseFlex answers the flex API as recorded: no cluster of the simulation is flex. Inferred: the
// error for a cluster that is not there.
func (s *Server) refuseFlex(x *exchange) error {
	c, err := x.cluster(x.request.PathValue("clusterName"))
	if err != nil {
		return err
	}
	return failure(http.StatusBadRequest, "CANNOT_USE_NON_FLEX_CLUSTER_IN_FLEX_API", "Cannot use non-flex cluster %s in the flex API.", c.Name)
}

// deleteSchedule removes all rules of a schedule and turns automatic exports off, as recorded.
// Inferred: export is gone then.
func (s *Server) deleteSchedule(x *exchange) error {
	return s.updateSchedule(x, x.request.PathValue("clusterName"), func(before *Schedule) (*Schedule, error) {
		after := *before
		after.AutoExportEnabled, after.Export, after.PolicyItems = false, nil, []PolicyItem{}
		return &after, nil
	})
}
